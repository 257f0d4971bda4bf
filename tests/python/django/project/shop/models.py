"""Orders: what the views write, and what relates to jobs."""

from __future__ import annotations

from django.db import models

from procrastinate.contrib.django.models import ProcrastinateJob


class Order(models.Model):
    """Something that was ordered, and the job that sends it."""

    name: models.TextField[str, str] = models.TextField()
    job: models.ForeignKey[ProcrastinateJob | None, ProcrastinateJob | None] = (
        models.ForeignKey(ProcrastinateJob, on_delete=models.SET_NULL, null=True, blank=True)
    )
