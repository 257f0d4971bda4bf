"""A name of procrastinate 3.x's, which projects depend on: 0001 did the work."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("procrastinate", "0034_pre_add_heartbeat")]
    operations = []
