"""A name of procrastinate 3.x's, which projects depend on: 0001 did the work."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("procrastinate", "0015_add_trigger_on_job_deletion")]
    operations = []
