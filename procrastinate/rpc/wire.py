"""
The worker wire: what a worker and a producer of this version call.

One function for each file of ``sql/functions/wire``, of the same name. Functions over many jobs
report on each of them instead of raising; those that raise change nothing at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from procrastinate import jobs
from procrastinate.rpc import decode, values
from procrastinate.rpc.call import Call, Function

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping, Sequence

    from procrastinate.rpc.call import Rows, Written

_EXCHANGE_COLUMNS = (
    "outcome",
    "job_id",
    "claim_id",
    "status",
    "queue_name",
    "task_name",
    "priority",
    "lock",
    "queueing_lock",
    "args",
    "scheduled_at",
    "attempts",
    "abort_requested",
    "next_due_in",
    "contended",
    "more",
    "marks",
)

_DEFER_ARGUMENTS = {
    "p_queue_names": "text[]",
    "p_task_names": "text[]",
    "p_priorities": "integer[]",
    "p_locks": "text[]",
    "p_queueing_locks": "text[]",
    "p_args": "jsonb[]",
    "p_scheduled_ats": "timestamp with time zone[]",
}

_OUTCOME_COLUMNS = ("job_id", "outcome", "status")

_FETCH_JOBS = Function(
    name="procrastinate_fetch_jobs_v1",
    arguments={
        "p_worker_id": "bigint",
        "p_queues": "text[]",
        "p_limit": "integer",
        "p_marks": "bigint[]",
    },
    columns=_EXCHANGE_COLUMNS,
)
_FINISH_AND_FETCH = Function(
    name="procrastinate_finish_and_fetch_v1",
    arguments={
        "p_worker_id": "bigint",
        "p_queues": "text[]",
        "p_limit": "integer",
        "p_marks": "bigint[]",
        "p_job_ids": "bigint[]",
        "p_claim_ids": "bigint[]",
        "p_statuses": "procrastinate_job_status[]",
        "p_delete": "boolean[]",
    },
    columns=_EXCHANGE_COLUMNS,
)
_FINISH_JOBS = Function(
    name="procrastinate_finish_jobs_v1",
    arguments={
        "p_worker_id": "bigint",
        "p_job_ids": "bigint[]",
        "p_claim_ids": "bigint[]",
        "p_statuses": "procrastinate_job_status[]",
        "p_delete": "boolean[]",
    },
    columns=_OUTCOME_COLUMNS,
)
_RETRY_JOBS = Function(
    name="procrastinate_retry_jobs_v1",
    arguments={
        "p_worker_id": "bigint",
        "p_job_ids": "bigint[]",
        "p_claim_ids": "bigint[]",
        "p_retry_ats": "timestamp with time zone[]",
        "p_priorities": "integer[]",
        "p_queue_names": "text[]",
        "p_locks": "text[]",
    },
    columns=_OUTCOME_COLUMNS,
)
_RELEASE_JOBS = Function(
    name="procrastinate_release_jobs_v1",
    arguments={"p_worker_id": "bigint", "p_job_ids": "bigint[]", "p_claim_ids": "bigint[]"},
    columns=_OUTCOME_COLUMNS,
)
_REGISTER_WORKER = Function(
    name="procrastinate_register_worker_v2",
    arguments={"p_name": "text", "p_queues": "text[]", "p_description": "jsonb"},
)
_UNREGISTER_WORKER = Function(
    name="procrastinate_unregister_worker_v2", arguments={"p_worker_id": "bigint"}
)
_HEARTBEAT = Function(
    name="procrastinate_heartbeat_v1",
    arguments={"p_worker_id": "bigint"},
    columns=("job_id", "claim_id", "abort_requested"),
)
_LIST_JOBS_TO_ABORT = Function(
    name="procrastinate_list_jobs_to_abort_v1", arguments={"p_worker_id": "bigint"}
)
_PRUNE_WORKERS = Function(
    name="procrastinate_prune_workers_v1", arguments={"p_older_than": "interval"}
)
_RECOVER_JOBS = Function(
    name="procrastinate_recover_jobs_v1",
    arguments={
        "p_older_than": "interval",
        "p_task_names": "text[]",
        "p_max_attempts": "integer[]",
        "p_max_jobs": "integer",
    },
    columns=_OUTCOME_COLUMNS,
)
_SWEEP = Function(
    name="procrastinate_sweep_v1",
    arguments={"p_max_jobs": "integer"},
    columns=("promoted", "unlinked"),
)
_RETIRE_JOBS = Function(
    name="procrastinate_retire_jobs_v1",
    arguments={"p_older_than": "interval", "p_after_id": "bigint", "p_max_jobs": "integer"},
    columns=("retired", "next_id"),
)
_DEFER_JOBS = Function(name="procrastinate_defer_jobs_v2", arguments=_DEFER_ARGUMENTS)
_TRY_DEFER_JOBS = Function(
    name="procrastinate_try_defer_jobs_v1",
    arguments=_DEFER_ARGUMENTS,
    columns=("ordinal", "job_id", "conflict"),
)
_DEFER_PERIODIC_JOB = Function(
    name="procrastinate_defer_periodic_job_v3",
    arguments={
        "p_task_name": "text",
        "p_periodic_id": "text",
        "p_defer_timestamp": "bigint",
        "p_queue_name": "text",
        "p_priority": "integer",
        "p_lock": "text",
        "p_queueing_lock": "text",
        "p_args": "jsonb",
    },
)
_CHANNELS = Function(name="procrastinate_channels_v1", arguments={"p_queues": "text[]"})

#: Every function of this family, for the test that compares them with the catalogue.
FUNCTIONS = (
    _FETCH_JOBS,
    _FINISH_AND_FETCH,
    _FINISH_JOBS,
    _RETRY_JOBS,
    _RELEASE_JOBS,
    _REGISTER_WORKER,
    _UNREGISTER_WORKER,
    _HEARTBEAT,
    _LIST_JOBS_TO_ABORT,
    _PRUNE_WORKERS,
    _RECOVER_JOBS,
    _SWEEP,
    _RETIRE_JOBS,
    _DEFER_JOBS,
    _TRY_DEFER_JOBS,
    _DEFER_PERIODIC_JOB,
    _CHANNELS,
)


@attrs.frozen(kw_only=True)
class End:
    """A run that ended, as a worker reports it."""

    job_id: int
    claim_id: int
    status: str
    """succeeded, failed or aborted."""
    delete: bool = False
    """Delete the job instead of keeping it with that status."""


@attrs.frozen(kw_only=True)
class Retry:
    """A run that failed and is to be tried again; None keeps what the job has."""

    job_id: int
    claim_id: int
    retry_at: datetime.datetime | None
    """None: at once, whatever this process takes for now."""
    priority: int | None = None
    queue: str | None = None
    lock: str | None = None


def _exchange(worker_id: int) -> Any:
    def read(rows: Rows) -> values.Exchange:
        # The hot path: one pass, by position.
        claimed: list[values.ClaimedJob] = []
        not_held: list[values.EndNotHeld] = []
        summary: Any = None
        for row in rows:
            if row[0] == "claimed":
                job = jobs.Job(
                    id=row[1],
                    status=row[3],
                    queue=row[4],
                    priority=row[6],
                    lock=row[7],
                    queueing_lock=row[8],
                    task_name=row[5],
                    task_kwargs=row[9],
                    scheduled_at=row[10],
                    attempts=row[11],
                    abort_requested=row[12],
                    worker_id=worker_id,
                )
                claimed.append(values.ClaimedJob(job=job, claim_id=row[2]))
            elif row[0] == "not_held":
                not_held.append(
                    values.EndNotHeld(job_id=row[1], claim_id=row[2], status=row[3])
                )
            else:
                summary = row
        return values.Exchange(
            claimed=claimed,
            not_held=not_held,
            next_due_in=summary[13],
            contended=summary[14],
            more=summary[15],
            marks=summary[16],
        )

    return read


def _outcomes(rows: Rows) -> list[values.Outcome]:
    return [values.Outcome(job_id=row[0], outcome=row[1], status=row[2]) for row in rows]


def fetch_jobs_v1(
    *,
    worker_id: int,
    queues: Sequence[str] | None,
    limit: int,
    marks: Sequence[int] | None = None,
) -> Call[values.Exchange]:
    """
    Claim jobs that may run now, highest priority first, then lowest id.

    ``todo`` -> ``doing``, at most ``limit`` of them. Never waits for another transaction.
    ``queues`` None means all; ``marks`` is what the last fetch of this worker and these queues
    returned.

    Raises
    ------
    exceptions.WorkerNotRegistered
        ``PQ004``: the worker's row is gone. Nothing was claimed.
    exceptions.WrongIsolation
        ``PQ005``: the transaction is REPEATABLE READ or stricter.

    Source: ``sql/functions/wire/fetch_jobs_v1.sql``
    """
    return Call(
        function=_FETCH_JOBS,
        args={
            "p_worker_id": worker_id,
            "p_queues": queues,
            "p_limit": limit,
            "p_marks": marks,
        },
        decode=_exchange(worker_id),
    )


def finish_and_fetch_v1(
    *,
    worker_id: int,
    queues: Sequence[str] | None,
    limit: int,
    marks: Sequence[int] | None,
    ends: Sequence[End],
) -> Call[values.Exchange]:
    """
    Report runs that ended and claim jobs for the free slots, in one round trip.

    ``doing`` -> ``succeeded``, ``failed`` or ``aborted`` (``attempts`` + 1) or gone;
    ``todo`` -> ``doing``. An end whose claim is not held any more changes nothing and comes
    back in ``not_held``. With ``limit`` 0 it only reports.

    Raises
    ------
    exceptions.WorkerNotRegistered
        ``PQ004``: the worker's row is gone. Nothing was changed, no end applied.
    exceptions.WrongIsolation
        ``PQ005``: the transaction is REPEATABLE READ or stricter.

    Source: ``sql/functions/wire/finish_and_fetch_v1.sql``
    """
    return Call(
        function=_FINISH_AND_FETCH,
        args={
            "p_worker_id": worker_id,
            "p_queues": queues,
            "p_limit": limit,
            "p_marks": marks,
            "p_job_ids": [end.job_id for end in ends],
            "p_claim_ids": [end.claim_id for end in ends],
            "p_statuses": [end.status for end in ends],
            "p_delete": [end.delete for end in ends],
        },
        decode=_exchange(worker_id),
    )


def finish_jobs_v1(*, worker_id: int, ends: Sequence[End]) -> Call[list[values.Outcome]]:
    """
    Report runs that ended.

    ``doing`` -> ``succeeded``, ``failed`` or ``aborted`` (``attempts`` + 1), or gone. The
    outcome of each is ``finished`` or ``not_held``.

    Raises
    ------
    exceptions.InvalidArgument
        ``PQ003``: a status that is no end.

    Source: ``sql/functions/wire/finish_jobs_v1.sql``
    """
    return Call(
        function=_FINISH_JOBS,
        args={
            "p_worker_id": worker_id,
            "p_job_ids": [end.job_id for end in ends],
            "p_claim_ids": [end.claim_id for end in ends],
            "p_statuses": [end.status for end in ends],
            "p_delete": [end.delete for end in ends],
        },
        decode=_outcomes,
    )


def retry_jobs_v1(*, worker_id: int, retries: Sequence[Retry]) -> Call[list[values.Outcome]]:
    """
    Give jobs back to be run again, at a time, with another priority, queue or lock.

    ``doing`` -> ``todo`` (``attempts`` + 1). The outcome of each is ``retried``; ``failed`` if
    it was asked to abort or its queueing lock is taken (the reason is in its event); or
    ``not_held``.

    Source: ``sql/functions/wire/retry_jobs_v1.sql``
    """
    return Call(
        function=_RETRY_JOBS,
        args={
            "p_worker_id": worker_id,
            "p_job_ids": [retry.job_id for retry in retries],
            "p_claim_ids": [retry.claim_id for retry in retries],
            "p_retry_ats": [retry.retry_at for retry in retries],
            "p_priorities": [retry.priority for retry in retries],
            "p_queue_names": [retry.queue for retry in retries],
            "p_locks": [retry.lock for retry in retries],
        },
        decode=_outcomes,
    )


def release_jobs_v1(
    *, worker_id: int, claims: Sequence[tuple[int, int]]
) -> Call[list[values.Outcome]]:
    """
    Give back jobs that this worker holds and will not run.

    ``doing`` -> ``todo``; ``attempts`` stays: nothing ran. ``claims`` are pairs of a job's id
    and its claim's. The outcome of each is ``released`` or ``not_held``.

    Source: ``sql/functions/wire/release_jobs_v1.sql``
    """
    return Call(
        function=_RELEASE_JOBS,
        args={
            "p_worker_id": worker_id,
            "p_job_ids": [job_id for job_id, _ in claims],
            "p_claim_ids": [claim_id for _, claim_id in claims],
        },
        decode=_outcomes,
    )


def register_worker_v2(
    *,
    name: str | None = None,
    queues: Sequence[str] | None = None,
    description: Mapping[str, Any] | None = None,
) -> Call[int]:
    """
    Write a row for a worker that starts, with a first heartbeat; return its id.

    ``queues`` None means all; ``description`` is free, for people.

    Source: ``sql/functions/wire/register_worker_v2.sql``
    """
    return Call(
        function=_REGISTER_WORKER,
        args={"p_name": name, "p_queues": queues, "p_description": dict(description or {})},
        decode=decode.one,
    )


def unregister_worker_v2(*, worker_id: int) -> Call[bool]:
    """
    Delete the row of a worker that ends; return whether it was there.

    Jobs that it still has in doing keep their status and lose their worker.

    Source: ``sql/functions/wire/unregister_worker_v2.sql``
    """
    return Call(function=_UNREGISTER_WORKER, args={"p_worker_id": worker_id}, decode=decode.one)


def heartbeat_v1(*, worker_id: int) -> Call[list[values.HeldJob]]:
    """
    Say that a worker lives; return what the database has in doing under it.

    Raises
    ------
    exceptions.WorkerNotRegistered
        ``PQ004``: the worker's row is gone, most probably pruned as stalled.

    Source: ``sql/functions/wire/heartbeat_v1.sql``
    """
    return Call(
        function=_HEARTBEAT,
        args={"p_worker_id": worker_id},
        decode=lambda rows: [
            values.HeldJob(job_id=row[0], claim_id=row[1], abort_requested=row[2])
            for row in rows
        ],
    )


def list_jobs_to_abort_v1(*, worker_id: int) -> Call[list[int]]:
    """
    Return the ids of the jobs in doing under this worker that are asked to abort.

    Source: ``sql/functions/wire/list_jobs_to_abort_v1.sql``
    """
    return Call(
        function=_LIST_JOBS_TO_ABORT, args={"p_worker_id": worker_id}, decode=decode.column
    )


def prune_workers_v1(*, older_than: datetime.timedelta) -> Call[list[int]]:
    """
    Delete the rows of workers whose last heartbeat is older; return their ids.

    Their jobs stay in doing, without a worker, until somebody recovers them.

    Source: ``sql/functions/wire/prune_workers_v1.sql``
    """
    return Call(
        function=_PRUNE_WORKERS, args={"p_older_than": older_than}, decode=decode.column
    )


def recover_jobs_v1(
    *,
    older_than: datetime.timedelta,
    max_attempts: Mapping[str, int | None],
    max_jobs: int = 1000,
) -> Call[list[values.Outcome]]:
    """
    Recover jobs of some tasks whose worker is gone, or silent for longer than ``older_than``.

    ``doing`` -> ``todo``, or ``failed`` where a job has had its task's ``max_attempts`` before
    this one; None is no limit. The attempt counts. Tasks that are not named are left alone.
    The outcome of each job is ``retried`` or ``failed``.

    Source: ``sql/functions/wire/recover_jobs_v1.sql``
    """
    return Call(
        function=_RECOVER_JOBS,
        args={
            "p_older_than": older_than,
            "p_task_names": list(max_attempts),
            "p_max_attempts": list(max_attempts.values()),
            "p_max_jobs": max_jobs,
        },
        decode=_outcomes,
    )


def sweep_v1(*, max_jobs: int = 1000) -> Call[values.Sweep]:
    """
    Put right what transactions in REPEATABLE READ and vanished workers left behind.

    Promotes heads of locks that stand parked without a holder, and unlinks finished jobs from
    workers who are gone, at most ``max_jobs`` of each.

    Source: ``sql/functions/wire/sweep_v1.sql``
    """
    return Call(
        function=_SWEEP,
        args={"p_max_jobs": max_jobs},
        decode=lambda rows: values.Sweep(promoted=rows[0][0], unlinked=rows[0][1]),
    )


def retire_jobs_v1(
    *, older_than: datetime.timedelta, after_id: int = 0, max_jobs: int = 1000
) -> Call[values.Retired]:
    """
    Delete what ended longer ago among the next ``max_jobs`` by id after ``after_id``.

    A pass begins at 0 and goes on from ``next_id``. Nobody waits for it; if another caller is at
    it just then, the pass is over.

    Raises
    ------
    exceptions.InvalidArgument
        ``PQ003``: the age is negative, or there is no job to look at.

    Source: ``sql/functions/wire/retire_jobs_v1.sql``
    """
    return Call(
        function=_RETIRE_JOBS,
        args={"p_older_than": older_than, "p_after_id": after_id, "p_max_jobs": max_jobs},
        decode=lambda rows: values.Retired(retired=rows[0][0], next_id=rows[0][1]),
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
        args={
            "p_task_name": job.task_name,
            "p_periodic_id": periodic_id,
            "p_defer_timestamp": defer_timestamp,
            "p_queue_name": job.queue,
            "p_priority": job.priority,
            "p_lock": job.lock,
            "p_queueing_lock": job.queueing_lock,
            "p_args": job.task_kwargs,
        },
        decode=decode.one,
    )


def channels_v1(*, queues: Sequence[str] | None) -> Call[list[str]]:
    """
    Return the channels that a worker of these queues listens on; None means all queues.

    Source: ``sql/functions/wire/channels_v1.sql``
    """
    return Call(function=_CHANNELS, args={"p_queues": queues}, decode=decode.column)
