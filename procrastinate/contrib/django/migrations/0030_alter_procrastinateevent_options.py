"""A name of procrastinate 3.x's, which projects depend on: 0001 did the work."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("procrastinate", "0029_add_additional_params_to_retry_job")]
    operations = []
