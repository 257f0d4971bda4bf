"""SAQ's jobs as procrastinate's, and back."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from procrastinate import jobs
from procrastinate.contrib.saq.job import UNSUCCESSFUL_TERMINAL_STATUSES, Job, Status

if TYPE_CHECKING:
    from procrastinate.contrib.saq.queue.base import Queue
    from procrastinate.rpc import job_records, values

_STATUSES = {
    "todo": Status.QUEUED,
    "doing": Status.ACTIVE,
    "aborting": Status.ABORTING,
    "succeeded": Status.COMPLETE,
    "failed": Status.FAILED,
    "cancelled": Status.ABORTED,
    "aborted": Status.ABORTED,
}

#: The delays of a job with retry_backoff double.
BACKOFF = 2.0

#: What a job that procrastinate's own interface has deferred has for a key.
PREFIX = "procrastinate:"

#: No words are kept of why a job was aborted.
ABORTED = "aborted"


def row_of(job: Job, queue_name: str) -> jobs.Job:
    """Make the row that a job is stored as."""
    scheduled_at = None
    if job.scheduled:
        scheduled_at = datetime.datetime.fromtimestamp(job.scheduled, tz=datetime.UTC)
    return jobs.Job(
        queue=queue_name,
        task_name=job.function,
        task_kwargs=job.kwargs or {},
        priority=-job.priority,
        lock=None,
        queueing_lock=None,
        scheduled_at=scheduled_at,
        options=_options_of(job),
    )


def _options_of(job: Job) -> jobs.JobOptions:
    has_backoff = bool(job.retry_backoff)
    is_capped = has_backoff and job.retry_backoff is not True
    return jobs.JobOptions(
        timeout=job.timeout or None,
        heartbeat=job.heartbeat or None,
        ttl=job.ttl,
        max_attempts=max(1, job.retries),
        retry_delay=job.retry_delay or None,
        retry_backoff=BACKOFF if has_backoff else None,
        retry_delay_cap=job.retry_backoff if is_capped else None,
        retry_jitter=True if has_backoff else None,
        key=job.key,
        group_key=None if job.group_key is None else str(job.group_key),
        meta=job.meta or None,
        # not kept either way; said aloud, it tells the worker that there is a meta to be read
        keep_result=False if job.meta else None,
    )


def may_have_meta(row: jobs.Job) -> bool:
    """Whether a claimed job has a meta: from its enqueuer, or from an attempt before."""
    return row.attempts > 0 or (row.options is not None and row.options.keep_result is not None)


def key_of(row: jobs.Job) -> str:
    """Return the key of a job, which may be one that was not enqueued as SAQ's."""
    key = None if row.options is None else row.options.key
    return f"{PREFIX}{row.id}" if key is None else key


def status_of(status: str, *, abort_requested: bool) -> Status:
    """Return a status in SAQ's words."""
    found = _STATUSES[status]
    return Status.ABORTING if found is Status.ACTIVE and abort_requested else found


def job_of(row: jobs.Job, queue: Queue) -> Job:
    """Make a job of what a worker has claimed, or a query has found."""
    options = row.options or jobs.JobOptions()
    backoff: bool | float = False
    if options.retry_backoff:
        backoff = True if options.retry_delay_cap is None else options.retry_delay_cap
    status = status_of(row.status or "todo", abort_requested=row.abort_requested)
    job = Job(
        function=row.task_name,
        kwargs=row.task_kwargs or None,
        queue=queue,
        key=key_of(row),
        timeout=_whole(options.timeout or 0),
        heartbeat=_whole(options.heartbeat or 0),
        retries=options.max_attempts or 1,
        ttl=_whole(-1 if options.ttl is None else options.ttl),
        retry_delay=options.retry_delay or 0.0,
        retry_backoff=backoff,
        scheduled=_whole(0 if row.scheduled_at is None else row.scheduled_at.timestamp()),
        attempts=row.attempts + (status in (Status.ACTIVE, Status.ABORTING)),
        status=status,
        priority=-row.priority,
        group_key=options.group_key,
    )
    job.row_id = row.id
    return job


def recorded(record: job_records.JobRecord, queue: Queue) -> Job:
    """Make a job of all that is known of it."""
    job = job_of(record.job, queue)
    job.queued = _millis(record.deferred_at)
    job.started = _millis(record.started_at)
    job.completed = _millis(record.ended_at)
    job.touched = max(_millis(record.touched_at), job.started) if job.started else 0
    job.meta = record.meta or {}
    job.worker_id = record.worker_name
    job.progress = record.progress or 0.0
    conclude(job, result=record.result, error=record.error)
    return job


def report(job: Job, told: values.JobReport) -> None:
    """Write into a job how it ended."""
    job.status = status_of(told.status, abort_requested=False)
    job.attempts = job.attempts if told.attempts is None else told.attempts
    job.progress = told.progress or 0.0
    job.meta = told.meta or job.meta
    conclude(job, result=told.result, error=told.error)


def conclude(job: Job, *, result: Any, error: values.ErrorRecord | None) -> None:
    """Write into a job what came of its last run."""
    job.result = result
    job.error = None if error is None else error.traceback or f"{error.cls}: {error.message}"
    if job.status is Status.COMPLETE:
        job.progress = 1.0
    elif job.status in UNSUCCESSFUL_TERMINAL_STATUSES and job.error is None:
        job.error = ABORTED if job.status is Status.ABORTED else "failed"


def _millis(moment: datetime.datetime | None) -> int:
    return 0 if moment is None else int(moment.timestamp() * 1000)


def _whole(number: float) -> Any:
    """Return seconds as they were given: the database has them all as fractions."""
    number = float(number)
    return int(number) if number.is_integer() else number
