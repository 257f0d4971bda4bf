"""Install the schema: whoever depends on any later migration finds it there."""

from __future__ import annotations

from django.db import migrations

from procrastinate.contrib.django import migrations_utils


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [migrations_utils.RunProcrastinateSQL(name="04.00.00_01_pre_baseline.sql")]
