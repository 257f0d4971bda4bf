"""The model of workers, and a job's relation to it."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("procrastinate", "0035_post_add_heartbeat")]
    operations = [
        migrations.CreateModel(
            name="ProcrastinateWorker",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("last_heartbeat", models.DateTimeField()),
            ],
            options={"managed": False, "db_table": "procrastinate_workers"},
        ),
        migrations.AddField(
            model_name="procrastinatejob",
            name="worker",
            field=models.ForeignKey(
                to="procrastinate.procrastinateworker",
                on_delete=django.db.models.deletion.SET_NULL,
                blank=True,
                null=True,
            ),
        ),
    ]
