"""
The front door: what people and programs in other languages call.

One function for each function of ``sql/functions/front``. Booleans say whether the transition
applied.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from procrastinate import jobs, types
from procrastinate.rpc import decode, values
from procrastinate.rpc.call import Call, Function

if TYPE_CHECKING:
    from collections.abc import Sequence

    from procrastinate.rpc.call import Rows

_DEFER_JOB = Function(
    name="procrastinate_defer_job",
    arguments={
        "queue_name": "text",
        "task_name": "text",
        "priority": "integer",
        "lock": "text",
        "queueing_lock": "text",
        "args": "jsonb",
        "scheduled_at": "timestamp with time zone",
    },
)
_DEFER_OPTIONAL_JOB = Function(
    name="procrastinate_defer_job",
    arguments={
        **_DEFER_JOB.arguments,
        "timeout": "interval",
        "heartbeat": "interval",
        "ttl": "interval",
        "max_attempts": "integer",
        "retry_delay": "interval",
        "retry_backoff": "double precision",
        "retry_delay_cap": "interval",
        "retry_jitter": "boolean",
        "key": "text",
        "group_key": "text",
        "keep_result": "boolean",
    },
)
_DEFER_JOBS = Function(
    name="procrastinate_defer_jobs",
    arguments={"jobs": "procrastinate_job_to_defer_v1[]"},
)
_CANCEL_JOB = Function(
    name="procrastinate_cancel_job",
    arguments={"job_id": "bigint", "abort": "boolean", "delete_job": "boolean"},
)
_ABORT_JOB = Function(name="procrastinate_abort_job", arguments={"job_id": "bigint"})
_RETRY_JOB = Function(
    name="procrastinate_retry_job",
    arguments={
        "job_id": "bigint",
        "retry_at": "timestamp with time zone",
        "priority": "integer",
        "queue_name": "text",
        "lock": "text",
    },
)
_FILTERS = {
    "queue_name": "text",
    "task_name": "text",
    "status": "procrastinate_job_status",
    "lock": "text",
    "queueing_lock": "text",
    "older_than": "interval",
    "newer_than": "interval",
    "job_ids": "bigint[]",
    "all_jobs": "boolean",
}
_RETRY_JOBS = Function(
    name="procrastinate_retry_jobs",
    arguments={
        **_FILTERS,
        "retry_at": "timestamp with time zone",
        "dry_run": "boolean",
        "after_id": "bigint",
        "max_jobs": "integer",
    },
    columns=("job_id", "outcome"),
)
_CANCEL_JOBS = Function(
    name="procrastinate_cancel_jobs",
    arguments={
        **_FILTERS,
        "abort": "boolean",
        "delete_jobs": "boolean",
        "dry_run": "boolean",
        "after_id": "bigint",
        "max_jobs": "integer",
    },
    columns=("job_id", "outcome"),
)
_RESCHEDULE_JOB = Function(
    name="procrastinate_reschedule_job",
    arguments={"job_id": "bigint", "scheduled_at": "timestamp with time zone"},
)
_PAUSE_QUEUE = Function(
    name="procrastinate_pause_queue",
    arguments={
        "queue_name": "text",
        "reason": "text",
        "until": "timestamp with time zone",
    },
)
_RESUME_QUEUE = Function(name="procrastinate_resume_queue", arguments={"queue_name": "text"})
_PURGE_JOBS = Function(
    name="procrastinate_purge_jobs",
    arguments={
        "older_than": "interval",
        "queue_name": "text",
        "statuses": "procrastinate_job_status[]",
        "max_jobs": "integer",
    },
)
_CREATE_ROLES = Function(
    name="procrastinate_create_roles",
    arguments={"producer": "text", "worker": "text", "operator": "text", "auditor": "text"},
    columns=("role", "part", "created"),
)
_PRUNE_STALLED_WORKERS = Function(
    name="procrastinate_prune_stalled_workers", arguments={"older_than": "interval"}
)
_RECOVER_STALLED_JOBS = Function(
    name="procrastinate_recover_stalled_jobs",
    arguments={"older_than": "interval", "max_jobs": "integer"},
)
_GET_RESULT = Function(
    name="procrastinate_get_result",
    arguments={"job_id": "bigint"},
    columns=(
        "status",
        "attempts",
        "result",
        "error",
        "progress",
        "meta",
        "updated_at",
        "expires_at",
    ),
)
_WATCH_JOB = Function(
    name="procrastinate_watch_job",
    arguments={"job_id": "bigint"},
    columns=("channel", "status", "over"),
)
_EXPLAIN_JOB = Function(
    name="procrastinate_explain_job",
    arguments={"job_id": "bigint"},
    columns=("gate", "open", "detail"),
)
_CHECK = Function(name="procrastinate_check", columns=("breach", "job_id", "detail"))
_REPAIR = Function(name="procrastinate_repair")
_VERSION = Function(name="procrastinate_version")
_NOW = Function(name="procrastinate_now")

#: Every function of this family, for the test that compares them with the catalogue.
FUNCTIONS = (
    _DEFER_OPTIONAL_JOB,
    _DEFER_JOBS,
    _CANCEL_JOB,
    _ABORT_JOB,
    _RETRY_JOB,
    _RETRY_JOBS,
    _CANCEL_JOBS,
    _RESCHEDULE_JOB,
    _PAUSE_QUEUE,
    _RESUME_QUEUE,
    _PURGE_JOBS,
    _CREATE_ROLES,
    _PRUNE_STALLED_WORKERS,
    _RECOVER_STALLED_JOBS,
    _GET_RESULT,
    _WATCH_JOB,
    _EXPLAIN_JOB,
    _CHECK,
    _REPAIR,
    _VERSION,
    _NOW,
)

_STALLED = datetime.timedelta(seconds=30)  # three heartbeats of a worker: two may be lost


def defer_job(
    *,
    queue_name: str,
    task_name: str,
    priority: int = jobs.DEFAULT_PRIORITY,
    lock: str | None = None,
    queueing_lock: str | None = None,
    args: types.JSONDict | None = None,
    scheduled_at: datetime.datetime | None = None,
    options: jobs.JobOptions | None = None,
) -> Call[int]:
    """
    Insert one job in todo; return its id. The ``meta`` of its options is not told.

    Raises
    ------
    exceptions.UniqueViolation
        ``23505``: a waiting job has the queueing lock, or a job that waits or runs the key.
    exceptions.InvalidArgument
        ``PQ003``: a name, the arguments or another value can't be stored.

    Source: ``sql/functions/front/defer_job.sql``
    """
    plain: dict[str, Any] = {
        "queue_name": queue_name,
        "task_name": task_name,
        "priority": priority,
        "lock": lock,
        "queueing_lock": queueing_lock,
        "args": {} if args is None else args,
        "scheduled_at": scheduled_at,
    }
    if options is None:
        # The shorter statement: the server has fewer arguments to read.
        return Call(function=_DEFER_JOB, args=plain, decode=decode.one)
    return Call(
        function=_DEFER_OPTIONAL_JOB, args={**plain, **_options(options)}, decode=decode.one
    )


def _options(options: jobs.JobOptions) -> dict[str, Any]:
    return {
        "timeout": _seconds(options.timeout),
        "heartbeat": _seconds(options.heartbeat),
        "ttl": _seconds(options.ttl),
        "max_attempts": options.max_attempts,
        "retry_delay": _seconds(options.retry_delay),
        "retry_backoff": options.retry_backoff,
        "retry_delay_cap": _seconds(options.retry_delay_cap),
        "retry_jitter": options.retry_jitter,
        "key": options.key,
        "group_key": options.group_key,
        "keep_result": options.keep_result,
    }


def _seconds(number: float | None) -> datetime.timedelta | None:
    return None if number is None else datetime.timedelta(seconds=number)


def defer_jobs(*, new_jobs: Sequence[types.JobToDefer]) -> Call[list[int]]:
    """
    Insert jobs in todo, all or none; return their ids in the order given.

    Raises
    ------
    exceptions.UniqueViolation
        ``23505``: a waiting job, or another of these, has one's queueing lock.
    exceptions.InvalidArgument
        ``PQ003``: a name, the arguments or another value can't be stored.

    Source: ``sql/functions/front/defer_jobs.sql``
    """
    return Call(function=_DEFER_JOBS, args={"jobs": new_jobs}, decode=decode.column)


def cancel_job(*, job_id: int, abort: bool = False, delete_job: bool = False) -> Call[bool]:
    """
    Cancel a waiting job; with ``abort`` also ask a running one to abort.

    ``todo`` -> ``cancelled``, or gone with ``delete_job``. False if neither applies, also for
    an id that no job has.

    Source: ``sql/functions/front/cancel_job.sql``
    """
    return Call(
        function=_CANCEL_JOB,
        args={"job_id": job_id, "abort": abort, "delete_job": delete_job},
        decode=decode.one,
    )


def abort_job(*, job_id: int) -> Call[bool]:
    """
    Cancel a waiting job, or ask a running one to abort.

    Source: ``sql/functions/front/cancel_job.sql``
    """
    return Call(function=_ABORT_JOB, args={"job_id": job_id}, decode=decode.one)


def retry_job(
    *,
    job_id: int,
    retry_at: datetime.datetime | None = None,
    priority: int | None = None,
    queue_name: str | None = None,
    lock: str | None = None,
) -> Call[bool]:
    """
    Run a failed job, or one in doing, once more: -> ``todo``; None keeps what the job has.

    Raises
    ------
    exceptions.JobNotFound
        ``PQ002``: no job has that id.
    exceptions.UniqueViolation
        ``23505``: another waiting job has its queueing lock; it stays failed.

    Source: ``sql/functions/front/retry_job.sql``
    """
    return Call(
        function=_RETRY_JOB,
        args={
            "job_id": job_id,
            "retry_at": retry_at,
            "priority": priority,
            "queue_name": queue_name,
            "lock": lock,
        },
        decode=decode.one,
    )


def retry_jobs(
    *,
    filters: values.Filters,
    retry_at: datetime.datetime | None = None,
    dry_run: bool = False,
    after_id: int = 0,
    max_jobs: int = 500,  # below what takes the one key for all locks, had each a lock
) -> Call[dict[int, str]]:
    """
    Run the failed jobs that pass the filters once more: -> ``todo``; an outcome for each.

    They are the next ``max_jobs`` by id after ``after_id``. ``retried``; ``failed``, for one in
    doing that can't wait; ``queueing_lock_taken`` and ``busy`` (another transaction has it) for
    those that stay what they are. With ``dry_run``: ``matched``, and nothing is done.

    Raises
    ------
    exceptions.InvalidArgument
        ``PQ003``: nothing filters, or the status is neither failed nor doing.

    Source: ``sql/functions/front/retry_jobs.sql``
    """
    return Call(
        function=_RETRY_JOBS,
        args={
            **filters.arguments(),
            "retry_at": retry_at,
            "dry_run": dry_run,
            "after_id": after_id,
            "max_jobs": max_jobs,
        },
        decode=decode.pairs,
    )


def cancel_jobs(
    *,
    filters: values.Filters,
    abort: bool = False,
    delete_jobs: bool = False,
    dry_run: bool = False,
    after_id: int = 0,
    max_jobs: int = 500,  # below what takes the one key for all locks, had each a lock
) -> Call[dict[int, str]]:
    """
    Cancel the waiting jobs that pass the filters; an outcome for each.

    They are the next ``max_jobs`` by id after ``after_id``. ``cancelled``; ``deleted``, with
    ``delete_jobs``; ``abort_requested``, with ``abort`` and for one in doing; ``busy`` (another
    transaction has it) for those that stay. With ``dry_run``: ``matched``, nothing is done.

    Raises
    ------
    exceptions.InvalidArgument
        ``PQ003``: nothing filters, or the status is one that can't be cancelled.

    Source: ``sql/functions/front/cancel_jobs.sql``
    """
    return Call(
        function=_CANCEL_JOBS,
        args={
            **filters.arguments(),
            "abort": abort,
            "delete_jobs": delete_jobs,
            "dry_run": dry_run,
            "after_id": after_id,
            "max_jobs": max_jobs,
        },
        decode=decode.pairs,
    )


def reschedule_job(*, job_id: int, scheduled_at: datetime.datetime | None) -> Call[bool]:
    """
    Change when a waiting job is due; None is now.

    Raises
    ------
    exceptions.JobNotFound
        ``PQ002``: no job has that id.

    Source: ``sql/functions/front/reschedule_job.sql``
    """
    return Call(
        function=_RESCHEDULE_JOB,
        args={"job_id": job_id, "scheduled_at": scheduled_at},
        decode=decode.one,
    )


def pause_queue(
    *, queue_name: str, reason: str | None = None, until: datetime.datetime | None = None
) -> Call[None]:
    """
    Let no worker fetch from a queue, from its next fetch on; deferring goes on.

    Source: ``sql/functions/front/pause_queue.sql``
    """
    return Call(
        function=_PAUSE_QUEUE,
        args={"queue_name": queue_name, "reason": reason, "until": until},
        decode=decode.nothing,
    )


def resume_queue(*, queue_name: str) -> Call[None]:
    """
    Let workers fetch from a queue again, and wake them up.

    Source: ``sql/functions/front/pause_queue.sql``
    """
    return Call(function=_RESUME_QUEUE, args={"queue_name": queue_name}, decode=decode.nothing)


def purge_jobs(
    *,
    older_than: datetime.timedelta,
    queue_name: str | None = None,
    statuses: Sequence[jobs.Status] = (jobs.Status.SUCCEEDED,),
    max_jobs: int = 10_000,  # a statement of some tenths of a second
) -> Call[int]:
    """
    Delete finished jobs, with their events and results; return how many.

    Source: ``sql/functions/front/purge_jobs.sql``
    """
    return Call(
        function=_PURGE_JOBS,
        args={
            "older_than": older_than,
            "queue_name": queue_name,
            "statuses": statuses,
            "max_jobs": max_jobs,
        },
        decode=decode.one,
    )


def prune_stalled_workers(*, older_than: datetime.timedelta = _STALLED) -> Call[list[int]]:
    """
    Delete the rows of workers whose last heartbeat is older; return their ids.

    Source: ``sql/functions/front/stalled.sql``
    """
    return Call(
        function=_PRUNE_STALLED_WORKERS,
        args={"older_than": older_than},
        decode=decode.column,
    )


def recover_stalled_jobs(
    *, older_than: datetime.timedelta = _STALLED, max_jobs: int = 1000
) -> Call[list[int]]:
    """
    Give back the jobs of dead workers: ``doing`` -> ``todo`` (``attempts`` + 1).

    Returns their ids. A late report by the dead worker changes nothing.

    Source: ``sql/functions/front/stalled.sql``
    """
    return Call(
        function=_RECOVER_STALLED_JOBS,
        args={"older_than": older_than, "max_jobs": max_jobs},
        decode=decode.column,
    )


def get_result(*, job_id: int) -> Call[values.JobReport]:
    """
    Return how far a job is, and what came of it.

    Raises
    ------
    exceptions.JobNotFound
        ``PQ002``: there is no such job, and no result of one is kept.

    Source: ``sql/functions/front/get_result.sql``
    """

    def read(rows: Rows) -> values.JobReport:
        status, attempts, result, error, progress, meta, updated_at, expires_at = rows[0]
        # A result that is null can't be told from none: get_results_v1 can.
        stored = result is not None or error is not None
        return values.JobReport(
            job_id=job_id,
            status=status,
            attempts=attempts,
            keeps=stored,
            stored=stored,
            result=result,
            error=None if error is None else values.ErrorRecord.from_json(error),
            progress=progress,
            meta=meta,
            updated_at=updated_at,
            expires_at=expires_at,
        )

    return Call(function=_GET_RESULT, args={"job_id": job_id}, decode=read)


def watch_job(*, job_id: int) -> Call[values.Watch]:
    """
    Return the channel on which the end of a job is told, and what it is now.

    Listen first, then ask again: an end in between is seen by one of the two.

    Raises
    ------
    exceptions.JobNotFound
        ``PQ002``: there is no such job, and no result of one is kept.

    Source: ``sql/functions/front/watch_job.sql``
    """

    def read(rows: Rows) -> values.Watch:
        channel, status, over = rows[0]
        return values.Watch(channel=channel, status=status, over=over)

    return Call(function=_WATCH_JOB, args={"job_id": job_id}, decode=read)


def explain_job(*, job_id: int) -> Call[list[values.Gate]]:
    """
    Say what a job waits for, or has passed: a row for each gate.

    Raises
    ------
    exceptions.JobNotFound
        ``PQ002``: no job has that id.

    Source: ``sql/functions/front/explain_job.sql``
    """
    return Call(
        function=_EXPLAIN_JOB,
        args={"job_id": job_id},
        decode=lambda rows: [
            values.Gate(gate=row[0], is_open=row[1], detail=row[2]) for row in rows
        ],
    )


def check() -> Call[list[values.Breach]]:
    """
    Return a row for each derived row that is not what the jobs say.

    Source: ``sql/functions/front/check.sql``
    """
    return Call(
        function=_CHECK,
        decode=lambda rows: [
            values.Breach(breach=row[0], job_id=row[1], detail=row[2]) for row in rows
        ],
    )


def repair() -> Call[int]:
    """
    Rebuild the derived rows from the jobs; return how many were wrong.

    Source: ``sql/functions/front/repair.sql``
    """
    return Call(function=_REPAIR, decode=decode.one)


def create_roles(
    *,
    producer: str | None = "procrastinate_producer",
    worker: str | None = "procrastinate_worker",
    operator: str | None = "procrastinate_operator",
    auditor: str | None = "procrastinate_auditor",
) -> Call[list[values.Role]]:
    """
    Create the roles that are not there, and give each the rights of its part, and no other.

    Raises
    ------
    exceptions.InvalidArgument
        ``PQ003``: a role has all rights already, or could put functions beside ours. Nothing
        was changed.

    Source: ``sql/functions/front/create_roles.sql``
    """
    return Call(
        function=_CREATE_ROLES,
        args={
            "producer": producer,
            "worker": worker,
            "operator": operator,
            "auditor": auditor,
        },
        decode=lambda rows: [
            values.Role(name=row[0], part=row[1], is_new=row[2]) for row in rows
        ],
    )


def version() -> Call[str]:
    """
    Return the version of the schema.

    Source: ``sql/functions/front/version.sql``
    """
    return Call(function=_VERSION, decode=decode.one)


def now() -> Call[Any]:
    """
    Return the schema's time: a :class:`datetime.datetime`.

    Source: ``sql/functions/inner/now.sql``
    """
    return Call(function=_NOW, decode=decode.one)
