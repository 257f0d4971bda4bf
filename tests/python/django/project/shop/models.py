"""Orders: what the views write, and what relates to jobs."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """Something that was ordered, and the job that sends it."""

    name = models.TextField()
    job = models.ForeignKey(
        "procrastinate.ProcrastinateJob", on_delete=models.SET_NULL, null=True, blank=True
    )
