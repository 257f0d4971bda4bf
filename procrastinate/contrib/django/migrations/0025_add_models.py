"""The models that projects relate to; they are unmanaged, so this is all in the mind."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

_STATUSES = ["todo", "doing", "succeeded", "failed", "cancelled", "aborted"]
_TYPES = [
    "deferred",
    "started",
    "deferred_for_retry",
    "failed",
    "succeeded",
    "cancelled",
    "abort_requested",
    "aborted",
    "scheduled",
]


class Migration(migrations.Migration):
    dependencies = [("procrastinate", "0024_job_id_bigint")]
    operations = [
        migrations.CreateModel(
            name="ProcrastinateJob",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("queue_name", models.CharField(max_length=128)),
                ("task_name", models.CharField(max_length=128)),
                ("priority", models.IntegerField()),
                ("lock", models.TextField(unique=True, blank=True, null=True)),
                ("args", models.JSONField()),
                (
                    "status",
                    models.CharField(
                        choices=[(name, name) for name in _STATUSES], max_length=32
                    ),
                ),
                ("scheduled_at", models.DateTimeField(blank=True, null=True)),
                ("attempts", models.IntegerField()),
                ("queueing_lock", models.TextField(unique=True, blank=True, null=True)),
                ("abort_requested", models.BooleanField()),
            ],
            options={"managed": False, "db_table": "procrastinate_jobs"},
        ),
        migrations.CreateModel(
            name="ProcrastinateEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "job",
                    models.ForeignKey(
                        to="procrastinate.procrastinatejob",
                        on_delete=django.db.models.deletion.CASCADE,
                    ),
                ),
                (
                    "type",
                    models.CharField(choices=[(name, name) for name in _TYPES], max_length=32),
                ),
                ("at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "managed": False,
                "db_table": "procrastinate_events",
                "get_latest_by": "at",
            },
        ),
        migrations.CreateModel(
            name="ProcrastinatePeriodicDefer",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("task_name", models.CharField(max_length=128)),
                ("defer_timestamp", models.BigIntegerField(blank=True, null=True)),
                (
                    "job",
                    models.ForeignKey(
                        to="procrastinate.procrastinatejob",
                        on_delete=django.db.models.deletion.CASCADE,
                        blank=True,
                        null=True,
                    ),
                ),
                ("periodic_id", models.CharField(max_length=128)),
            ],
            options={"managed": False, "db_table": "procrastinate_periodic_defers"},
        ),
    ]
