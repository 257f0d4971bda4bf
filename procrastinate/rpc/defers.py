"""
The wire of producers: what an app of this version calls to defer jobs.

One function for each file of ``sql/functions/wire`` that inserts jobs, of the same name. What
raises has inserted none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from procrastinate.rpc import decode, values
from procrastinate.rpc.call import Call, Function

if TYPE_CHECKING:
    from collections.abc import Sequence

    from procrastinate import jobs, types
    from procrastinate.rpc.call import Written

_DEFER_ARGUMENTS = {
    "p_queue_names": "text[]",
    "p_task_names": "text[]",
    "p_priorities": "integer[]",
    "p_locks": "text[]",
    "p_queueing_locks": "text[]",
    "p_args": "jsonb[]",
    "p_scheduled_ats": "timestamp with time zone[]",
}

_DEFER_JOBS = Function(name="procrastinate_defer_jobs_v2", arguments=_DEFER_ARGUMENTS)
_TRY_DEFER_JOBS = Function(
    name="procrastinate_try_defer_jobs_v1",
    arguments=_DEFER_ARGUMENTS,
    columns=("ordinal", "job_id", "conflict"),
)
_PERIODIC_ARGUMENTS = {
    "p_task_name": "text",
    "p_periodic_id": "text",
    "p_defer_timestamp": "bigint",
    "p_queue_name": "text",
    "p_priority": "integer",
    "p_lock": "text",
    "p_queueing_lock": "text",
    "p_args": "jsonb",
}
_DEFER_PERIODIC_JOB = Function(
    name="procrastinate_defer_periodic_job_v3", arguments=_PERIODIC_ARGUMENTS
)

# With options: those above are cheaper, and stay for jobs that have none.
_DEFER_OPTIONAL_JOBS = Function(
    name="procrastinate_defer_jobs_v3",
    arguments={**_DEFER_ARGUMENTS, "p_options": "jsonb[]"},
)
_TRY_DEFER_OPTIONAL_JOBS = Function(
    name="procrastinate_try_defer_jobs_v2",
    arguments={**_DEFER_ARGUMENTS, "p_options": "jsonb[]"},
    columns=("ordinal", "job_id", "conflict", "reason", "other_job_id"),
)
_DEFER_OPTIONAL_PERIODIC_JOB = Function(
    name="procrastinate_defer_periodic_job_v4",
    arguments={**_PERIODIC_ARGUMENTS, "p_options": "jsonb"},
)

#: Every function of this module, for the test that compares them with the catalogue.
FUNCTIONS = (
    _DEFER_JOBS,
    _TRY_DEFER_JOBS,
    _DEFER_PERIODIC_JOB,
    _DEFER_OPTIONAL_JOBS,
    _TRY_DEFER_OPTIONAL_JOBS,
    _DEFER_OPTIONAL_PERIODIC_JOB,
)


def _defer_args(new_jobs: Sequence[jobs.Job]) -> dict[str, Any]:
    return {
        "p_queue_names": [job.queue for job in new_jobs],
        "p_task_names": [job.task_name for job in new_jobs],
        "p_priorities": [job.priority for job in new_jobs],
        "p_locks": [job.lock for job in new_jobs],
        "p_queueing_locks": [job.queueing_lock for job in new_jobs],
        "p_args": [job.task_kwargs for job in new_jobs],
        "p_scheduled_ats": [job.scheduled_at for job in new_jobs],
    }


def _options(job: jobs.Job) -> types.JSONDict | None:
    return None if job.options is None else job.options.as_json()


def _optional_args(new_jobs: Sequence[jobs.Job]) -> dict[str, Any]:
    return {**_defer_args(new_jobs), "p_options": [_options(job) for job in new_jobs]}


def _periodic_args(job: jobs.Job, periodic_id: str, defer_timestamp: int) -> dict[str, Any]:
    return {
        "p_task_name": job.task_name,
        "p_periodic_id": periodic_id,
        "p_defer_timestamp": defer_timestamp,
        "p_queue_name": job.queue,
        "p_priority": job.priority,
        "p_lock": job.lock,
        "p_queueing_lock": job.queueing_lock,
        "p_args": job.task_kwargs,
    }


def defer_jobs_v2(
    *, new_jobs: Sequence[jobs.Job], written: Sequence[Written] | None = None
) -> Call[list[int]]:
    """
    Insert jobs in todo, all or none; return their ids in the order given.

    ``written`` has their arguments as JSON, if that was written before.

    Raises
    ------
    exceptions.UniqueViolation
        ``23505``: a waiting job, or another of these, has one's queueing lock.
    exceptions.InvalidArgument
        ``PQ003``: a name, the arguments or another value can't be stored.

    Source: ``sql/functions/wire/defer_jobs_v2.sql``
    """
    args = _defer_args(new_jobs)
    if written is not None:
        args["p_args"] = written
    return Call(function=_DEFER_JOBS, args=args, decode=decode.column)


def try_defer_jobs_v1(*, new_jobs: Sequence[jobs.Job]) -> Call[list[values.TriedDefer]]:
    """
    Insert those jobs whose queueing lock is free; report on each, in the order given.

    Raises
    ------
    exceptions.InvalidArgument
        ``PQ003``: a name, the arguments or another value can't be stored. None was inserted.

    Source: ``sql/functions/wire/try_defer_jobs_v1.sql``
    """
    return Call(
        function=_TRY_DEFER_JOBS,
        args=_defer_args(new_jobs),
        decode=lambda rows: [
            values.TriedDefer(ordinal=row[0], job_id=row[1], conflict=row[2]) for row in rows
        ],
    )


def defer_periodic_job_v3(
    *, job: jobs.Job, periodic_id: str, defer_timestamp: int
) -> Call[int | None]:
    """
    Insert the job of a tick, once for all workers; return its id, None if the tick is taken.

    ``defer_timestamp`` is the tick, in seconds since the epoch.

    Raises
    ------
    exceptions.UniqueViolation
        ``23505``: a waiting job has the queueing lock. The tick is not taken.

    Source: ``sql/functions/wire/defer_periodic_job_v3.sql``
    """
    return Call(
        function=_DEFER_PERIODIC_JOB,
        args=_periodic_args(job, periodic_id, defer_timestamp),
        decode=decode.one,
    )


def defer_jobs_v3(
    *, new_jobs: Sequence[jobs.Job], written: Sequence[Written] | None = None
) -> Call[list[int]]:
    """
    Insert jobs with their options in todo, all or none; return their ids in the order given.

    ``written`` has their arguments as JSON, if that was written before.

    Raises
    ------
    exceptions.UniqueViolation
        ``23505``: a waiting job, or another of these, has one's queueing lock; or a job that
        waits or runs, or another of these, has one's key.
    exceptions.InvalidArgument
        ``PQ003``: a name, the arguments, an option or another value can't be stored.

    Source: ``sql/functions/wire/defer_jobs_v3.sql``
    """
    args = _optional_args(new_jobs)
    if written is not None:
        args["p_args"] = written
    return Call(function=_DEFER_OPTIONAL_JOBS, args=args, decode=decode.column)


def try_defer_jobs_v2(*, new_jobs: Sequence[jobs.Job]) -> Call[list[values.TriedDefer]]:
    """
    Insert those jobs whose queueing lock and key are free; report on each, in the order given.

    Raises
    ------
    exceptions.InvalidArgument
        ``PQ003``: a name, the arguments, an option or another value can't be stored. None was
        inserted.

    Source: ``sql/functions/wire/try_defer_jobs_v2.sql``
    """
    return Call(
        function=_TRY_DEFER_OPTIONAL_JOBS,
        args=_optional_args(new_jobs),
        decode=lambda rows: [
            values.TriedDefer(
                ordinal=row[0],
                job_id=row[1],
                conflict=row[2],
                reason=row[3],
                other_job_id=row[4],
            )
            for row in rows
        ],
    )


def defer_periodic_job_v4(
    *, job: jobs.Job, periodic_id: str, defer_timestamp: int
) -> Call[int | None]:
    """
    Insert the job of a tick with its options, once for all workers; return its id.

    None if the tick is taken. ``defer_timestamp`` is the tick, in seconds since the epoch.

    Raises
    ------
    exceptions.UniqueViolation
        ``23505``: a waiting job has the queueing lock, or a job that waits or runs the key.
        The tick is not taken.

    Source: ``sql/functions/wire/defer_periodic_job_v4.sql``
    """
    return Call(
        function=_DEFER_OPTIONAL_PERIODIC_JOB,
        args={
            **_periodic_args(job, periodic_id, defer_timestamp),
            "p_options": _options(job),
        },
        decode=decode.one,
    )
