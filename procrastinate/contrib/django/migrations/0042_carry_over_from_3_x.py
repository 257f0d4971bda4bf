"""Adopt the schema of a project that ran 0001 to 0041 as procrastinate 3.x."""

from __future__ import annotations

from django.db import migrations

from procrastinate.contrib.django import migrations_utils


class Migration(migrations.Migration):
    atomic = False  # an adoption is several transactions: it holds nobody up
    dependencies = [("procrastinate", "0041_post_retry_failed_job")]
    operations = [
        migrations_utils.CarryOverProcrastinateSQL(name="04.00.00_01_pre_baseline.sql")
    ]
