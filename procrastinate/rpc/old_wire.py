"""
The wire of 3.x: what workers of the old version call, and our manager for verbs by id.

One function for each file of ``sql/functions/old_wire``, of the same name. They keep upstream's
meaning: no claim fences them, and they raise in upstream's words (``P0001``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from procrastinate.rpc import decode
from procrastinate.rpc.call import Call, Function

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from procrastinate import jobs, types
    from procrastinate.rpc.call import Rows

_RETRY_ARGUMENTS = {
    "job_id": "bigint",
    "retry_at": "timestamp with time zone",
    "new_priority": "integer",
    "new_queue_name": "character varying",
    "new_lock": "character varying",
}

_DEFER_JOBS = Function(
    name="procrastinate_defer_jobs_v1",
    arguments={"jobs": "procrastinate_job_to_defer_v1[]"},
)
_DEFER_PERIODIC_JOB = Function(
    name="procrastinate_defer_periodic_job_v2",
    arguments={
        "_queue_name": "character varying",
        "_lock": "character varying",
        "_queueing_lock": "character varying",
        "_task_name": "character varying",
        "_priority": "integer",
        "_periodic_id": "character varying",
        "_defer_timestamp": "bigint",
        "_args": "jsonb",
    },
)
_FETCH_JOB = Function(
    name="procrastinate_fetch_job_v2",
    arguments={"target_queue_names": "character varying[]", "p_worker_id": "bigint"},
    columns=decode.JOB_COLUMNS,
)
_FINISH_JOB = Function(
    name="procrastinate_finish_job_v1",
    arguments={
        "job_id": "bigint",
        "end_status": "procrastinate_job_status",
        "delete_job": "boolean",
    },
)
_CANCEL_JOB = Function(
    name="procrastinate_cancel_job_v1",
    arguments={"job_id": "bigint", "abort": "boolean", "delete_job": "boolean"},
)
_RETRY_JOB_V1 = Function(name="procrastinate_retry_job_v1", arguments=_RETRY_ARGUMENTS)
_RETRY_JOB_V2 = Function(name="procrastinate_retry_job_v2", arguments=_RETRY_ARGUMENTS)
_REGISTER_WORKER = Function(name="procrastinate_register_worker_v1", columns=("worker_id",))
_UNREGISTER_WORKER = Function(
    name="procrastinate_unregister_worker_v1", arguments={"worker_id": "bigint"}
)
_UPDATE_HEARTBEAT = Function(
    name="procrastinate_update_heartbeat_v1", arguments={"worker_id": "bigint"}
)
_PRUNE_STALLED_WORKERS = Function(
    name="procrastinate_prune_stalled_workers_v1",
    arguments={"seconds_since_heartbeat": "double precision"},
    columns=("worker_id",),
)

#: Every function of this family, for the test that compares them with the catalogue.
FUNCTIONS = (
    _DEFER_JOBS,
    _DEFER_PERIODIC_JOB,
    _FETCH_JOB,
    _FINISH_JOB,
    _CANCEL_JOB,
    _RETRY_JOB_V1,
    _RETRY_JOB_V2,
    _REGISTER_WORKER,
    _UNREGISTER_WORKER,
    _UPDATE_HEARTBEAT,
    _PRUNE_STALLED_WORKERS,
)


def _first_job(rows: Rows) -> jobs.Job | None:
    # The old fetch always returns a row, all null if there is nothing to do.
    if not rows or rows[0][0] is None:
        return None
    return decode.job_of(rows[0])


def defer_jobs_v1(*, new_jobs: Sequence[types.JobToDefer]) -> Call[list[int]]:
    """
    Insert jobs in todo, all or none; return their ids in the order given.

    Raises
    ------
    exceptions.UniqueViolation
        ``23505``: a waiting job, or another of these, has one's queueing lock.

    Source: ``sql/functions/old_wire/defer_jobs_v1.sql``
    """
    return Call(function=_DEFER_JOBS, args={"jobs": new_jobs}, decode=decode.one)


def defer_periodic_job_v2(
    *, job: jobs.Job, periodic_id: str, defer_timestamp: int
) -> Call[int | None]:
    """
    Insert the job of a tick, once for all workers; return its id, None if the tick is taken.

    Raises
    ------
    exceptions.UniqueViolation
        ``23505``: a waiting job has the queueing lock.

    Source: ``sql/functions/old_wire/defer_periodic_job_v2.sql``
    """
    return Call(
        function=_DEFER_PERIODIC_JOB,
        args={
            "_queue_name": job.queue,
            "_lock": job.lock,
            "_queueing_lock": job.queueing_lock,
            "_task_name": job.task_name,
            "_priority": job.priority,
            "_periodic_id": periodic_id,
            "_defer_timestamp": defer_timestamp,
            "_args": job.task_kwargs,
        },
        decode=decode.one,
    )


def fetch_job_v2(*, queues: Sequence[str] | None, worker_id: int) -> Call[jobs.Job | None]:
    """
    Claim the next job that may run, if there is one: ``todo`` -> ``doing``.

    Raises
    ------
    exceptions.ConnectorException
        The worker's row is not there.

    Source: ``sql/functions/old_wire/fetch_job_v2.sql``
    """
    return Call(
        function=_FETCH_JOB,
        args={"target_queue_names": queues, "p_worker_id": worker_id},
        decode=_first_job,
    )


def finish_job_v1(*, job_id: int, status: str, delete: bool) -> Call[None]:
    """
    End a job by its id, whoever runs it: ``doing`` or ``todo`` -> an end, or gone.

    ``attempts`` + 1 if it was in doing.

    Raises
    ------
    exceptions.ConnectorException
        ``P0001``: the job is neither in doing nor in todo, or the status is no end.

    Source: ``sql/functions/old_wire/finish_job_v1.sql``
    """
    return Call(
        function=_FINISH_JOB,
        args={"job_id": job_id, "end_status": status, "delete_job": delete},
        decode=decode.nothing,
    )


def cancel_job_v1(*, job_id: int, abort: bool, delete: bool) -> Call[int | None]:
    """
    Cancel a waiting job, or ask a running one to abort; None if neither applies.

    ``todo`` -> ``cancelled``, or gone. With ``abort`` a job in doing is asked to abort.

    Source: ``sql/functions/old_wire/cancel_job_v1.sql``
    """
    return Call(
        function=_CANCEL_JOB,
        args={"job_id": job_id, "abort": abort, "delete_job": delete},
        decode=decode.one,
    )


def _retry_job(
    *,
    function: Function,
    job_id: int,
    retry_at: datetime.datetime,
    priority: int | None,
    queue: str | None,
    lock: str | None,
) -> Call[None]:
    return Call(
        function=function,
        args={
            "job_id": job_id,
            "retry_at": retry_at,
            "new_priority": priority,
            "new_queue_name": queue,
            "new_lock": lock,
        },
        decode=decode.nothing,
    )


def retry_job_v1(
    *,
    job_id: int,
    retry_at: datetime.datetime,
    priority: int | None = None,
    queue: str | None = None,
    lock: str | None = None,
) -> Call[None]:
    """
    Run a job once more, as workers before 3.4 asked for it: ``doing`` -> ``todo``.

    Source: ``sql/functions/old_wire/retry_job_v1.sql``
    """
    return _retry_job(
        function=_RETRY_JOB_V1,
        job_id=job_id,
        retry_at=retry_at,
        priority=priority,
        queue=queue,
        lock=lock,
    )


def retry_job_v2(
    *,
    job_id: int,
    retry_at: datetime.datetime,
    priority: int | None = None,
    queue: str | None = None,
    lock: str | None = None,
) -> Call[None]:
    """
    Run a job once more, by its id: ``doing`` or ``failed`` -> ``todo`` (``attempts`` + 1).

    None keeps the job's value. A job in doing that is asked to abort becomes failed instead.

    Raises
    ------
    exceptions.ConnectorException
        ``P0001``: the job is neither in doing nor failed.
    exceptions.UniqueViolation
        ``23505``: another waiting job has its queueing lock; it stays failed.

    Source: ``sql/functions/old_wire/retry_job_v2.sql``
    """
    return _retry_job(
        function=_RETRY_JOB_V2,
        job_id=job_id,
        retry_at=retry_at,
        priority=priority,
        queue=queue,
        lock=lock,
    )


def register_worker_v1() -> Call[int]:
    """
    Write a row for a worker that starts, with a first heartbeat; return its id.

    Source: ``sql/functions/old_wire/register_worker_v1.sql``
    """
    return Call(function=_REGISTER_WORKER, decode=decode.one)


def unregister_worker_v1(*, worker_id: int) -> Call[None]:
    """
    Delete the row of a worker that ends; of an unknown one, do nothing.

    Source: ``sql/functions/old_wire/unregister_worker_v1.sql``
    """
    return Call(
        function=_UNREGISTER_WORKER, args={"worker_id": worker_id}, decode=decode.nothing
    )


def update_heartbeat_v1(*, worker_id: int) -> Call[None]:
    """
    Say that a worker lives; of an unknown one, do nothing.

    Source: ``sql/functions/old_wire/update_heartbeat_v1.sql``
    """
    return Call(
        function=_UPDATE_HEARTBEAT, args={"worker_id": worker_id}, decode=decode.nothing
    )


def prune_stalled_workers_v1(*, seconds_since_heartbeat: float) -> Call[list[int]]:
    """
    Delete the rows of workers whose last heartbeat is older; return their ids.

    Source: ``sql/functions/old_wire/prune_stalled_workers_v1.sql``
    """
    return Call(
        function=_PRUNE_STALLED_WORKERS,
        args={"seconds_since_heartbeat": seconds_since_heartbeat},
        decode=decode.column,
    )
