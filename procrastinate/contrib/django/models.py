"""The queue's tables, to be read and related to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from django.db import models
from django.utils import timezone

from procrastinate import jobs
from procrastinate.contrib.django import exceptions, settings

if TYPE_CHECKING:
    import datetime

    from django.db.models.fields.related_descriptors import RelatedManager

_READ_ONLY = (
    "Procrastinate models exposed in Django, such as ProcrastinateJob are read-only. "
    "Please use the procrastinate CLI to interact with jobs."
)


def _refuse() -> NoReturn:
    raise exceptions.ReadOnlyModel(_READ_ONLY)


def _read_only(*args: Any, **kwargs: Any) -> NoReturn:
    _refuse()


def _choices(names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, name) for name in names]


class ProcrastinateReadOnlyModelMixin:
    """A row that can't be saved or deleted, unless the project allows it."""

    def save(self, *args: Any, **kwargs: Any) -> Any:
        """Raise `ReadOnlyModel`, or save."""
        if settings.settings.READONLY_MODELS:
            _refuse()
        parent: Any = super()
        return parent.save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        """Raise `ReadOnlyModel`, or delete."""
        if settings.settings.READONLY_MODELS:
            _refuse()
        parent: Any = super()
        return parent.delete(*args, **kwargs)


# By verb, the method of managers and its async twin.
_WRITES = frozenset(
    f"{prefix}{verb}"
    for prefix in ("", "a")
    for verb in (
        "bulk_create",
        "bulk_update",
        "create",
        "delete",
        "get_or_create",
        "update",
        "update_or_create",
    )
)


class ProcrastinateReadOnlyManager(models.Manager[Any]):
    """A manager that writes nothing, unless the project allows it."""

    def __getattribute__(self, name: str) -> Any:
        """Return what managers have, with refusals in place of what writes."""
        if name in _WRITES and settings.settings.READONLY_MODELS:
            return _read_only
        return super().__getattribute__(name)


class ProcrastinateWorker(ProcrastinateReadOnlyModelMixin, models.Model):
    """A worker that lives, or whose death was not noticed yet."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    last_heartbeat: models.DateTimeField[datetime.datetime, datetime.datetime] = (
        models.DateTimeField()
    )

    objects = ProcrastinateReadOnlyManager()

    class Meta:
        managed = False
        db_table = "procrastinate_workers"

    def __str__(self) -> str:
        """Name the worker."""
        return f"Worker {self.pk} - Last heartbeat at {self.last_heartbeat}"


class ProcrastinateJob(ProcrastinateReadOnlyModelMixin, models.Model):
    """A job."""

    STATUSES = ("todo", "doing", "succeeded", "failed", "cancelled", "aborted")

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    queue_name: models.CharField[str, str] = models.CharField(max_length=128)
    task_name: models.CharField[str, str] = models.CharField(max_length=128)
    priority: models.IntegerField[int, int] = models.IntegerField()
    lock: models.TextField[str | None, str | None] = models.TextField(
        unique=True, blank=True, null=True
    )
    args: models.JSONField[Any, Any] = models.JSONField()
    status: models.CharField[str, str] = models.CharField(
        choices=_choices(STATUSES), max_length=32
    )
    scheduled_at: models.DateTimeField[datetime.datetime | None, datetime.datetime | None] = (
        models.DateTimeField(blank=True, null=True)
    )
    attempts: models.IntegerField[int, int] = models.IntegerField()
    queueing_lock: models.TextField[str | None, str | None] = models.TextField(
        unique=True, blank=True, null=True
    )
    abort_requested: models.BooleanField[bool, bool] = models.BooleanField()
    worker_id: int | None
    worker: models.ForeignKey[ProcrastinateWorker | None, ProcrastinateWorker | None] = (
        models.ForeignKey(ProcrastinateWorker, on_delete=models.SET_NULL, blank=True, null=True)
    )

    objects = ProcrastinateReadOnlyManager()

    # Made by Django, for the relations below.
    procrastinateevent_set: RelatedManager[ProcrastinateEvent]
    procrastinateperiodicdefer_set: RelatedManager[ProcrastinatePeriodicDefer]

    class Meta:
        managed = False
        db_table = "procrastinate_jobs"

    def __str__(self) -> str:
        """Name the job as the logs do."""
        return self.procrastinate_job.call_string

    @property
    def procrastinate_job(self) -> jobs.Job:
        """The row as the value that the rest of procrastinate deals in."""
        return jobs.Job(
            id=self.id,
            status=self.status,
            queue=self.queue_name,
            priority=self.priority,
            lock=self.lock,
            queueing_lock=self.queueing_lock,
            task_name=self.task_name,
            task_kwargs=self.args,
            scheduled_at=_aware(self.scheduled_at),
            attempts=self.attempts,
            abort_requested=self.abort_requested,
            worker_id=self.worker_id,
        )


class ProcrastinateEvent(ProcrastinateReadOnlyModelMixin, models.Model):
    """Something that happened to a job."""

    TYPES = (
        "deferred",
        "started",
        "deferred_for_retry",
        "failed",
        "succeeded",
        "cancelled",
        "abort_requested",
        "aborted",
        "scheduled",
    )

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    job_id: int
    job: models.ForeignKey[ProcrastinateJob, ProcrastinateJob] = models.ForeignKey(
        ProcrastinateJob, on_delete=models.CASCADE
    )
    type: models.CharField[str, str] = models.CharField(choices=_choices(TYPES), max_length=32)
    at: models.DateTimeField[datetime.datetime | None, datetime.datetime | None] = (
        models.DateTimeField(blank=True, null=True)
    )

    objects = ProcrastinateReadOnlyManager()

    class Meta:
        managed = False
        db_table = "procrastinate_events"
        get_latest_by = "at"

    def __str__(self) -> str:
        """Say what happened."""
        return f"Event {self.pk} - Job {self.job_id}: {self.type} at {self.at}"


class ProcrastinatePeriodicDefer(ProcrastinateReadOnlyModelMixin, models.Model):
    """A tick of a periodic task, and the job that it became."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    task_name: models.CharField[str, str] = models.CharField(max_length=128)
    defer_timestamp: models.BigIntegerField[int | None, int | None] = models.BigIntegerField(
        blank=True, null=True
    )
    job_id: int | None
    job: models.ForeignKey[ProcrastinateJob | None, ProcrastinateJob | None] = (
        models.ForeignKey(ProcrastinateJob, on_delete=models.CASCADE, blank=True, null=True)
    )
    periodic_id: models.CharField[str, str] = models.CharField(max_length=128)

    class Meta:
        managed = False
        db_table = "procrastinate_periodic_defers"


def _aware(moment: datetime.datetime | None) -> datetime.datetime | None:
    # USE_TZ = False gives moments of the project's timezone that don't say so.
    if moment is None or timezone.is_aware(moment):
        return moment
    return timezone.make_aware(moment)
