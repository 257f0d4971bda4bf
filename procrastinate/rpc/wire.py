"""
The worker wire: what a worker of this version calls.

One function for each file of ``sql/functions/wire``, of the same name, but for those of ``defers``
and ``results``.
Functions over many jobs report on each of them instead of raising; those that raise change
nothing at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from procrastinate import jobs
from procrastinate.rpc import decode, values
from procrastinate.rpc.call import Call, Function

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping, Sequence

    from procrastinate import types
    from procrastinate.rpc.call import Row, Rows, Written

EXCHANGE_COLUMNS = (
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
    "options",
)

OUTCOME_COLUMNS = ("job_id", "outcome", "status")

_FETCH_JOBS = Function(
    name="procrastinate_fetch_jobs_v1",
    arguments={
        "p_worker_id": "bigint",
        "p_queues": "text[]",
        "p_limit": "integer",
        "p_marks": "bigint[]",
    },
    columns=EXCHANGE_COLUMNS,
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
    columns=EXCHANGE_COLUMNS,
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
    columns=OUTCOME_COLUMNS,
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
        "p_retry_ins": "interval[]",
    },
    columns=OUTCOME_COLUMNS,
)
_RELEASE_JOBS = Function(
    name="procrastinate_release_jobs_v1",
    arguments={"p_worker_id": "bigint", "p_job_ids": "bigint[]", "p_claim_ids": "bigint[]"},
    columns=OUTCOME_COLUMNS,
)
_REGISTER_WORKER = Function(
    name="procrastinate_register_worker_v2",
    arguments={"p_name": "text", "p_queues": "text[]", "p_description": "jsonb"},
)
_UNREGISTER_WORKER = Function(
    name="procrastinate_unregister_worker_v2",
    arguments={"p_worker_id": "bigint", "p_run": "text"},
)
_HEARTBEAT_OF_ALL = Function(
    name="procrastinate_heartbeat_v1",
    arguments={"p_worker_id": "bigint", "p_run": "text"},
    columns=("job_id", "claim_id", "abort_requested"),
)
_HEARTBEAT = Function(
    name="procrastinate_heartbeat_v2",
    arguments={"p_worker_id": "bigint", "p_run": "text", "p_job_ids": "bigint[]"},
    columns=("job_id", "claim_id", "abort_requested"),
)
_SET_QUIET = Function(
    name="procrastinate_set_quiet_v1",
    arguments={"p_worker_id": "bigint", "p_quiet": "boolean"},
)
_LIST_WRITERS = Function(
    name="procrastinate_list_writers_v1",
    arguments={},
    columns=("pid", "virtual_transaction"),
)
_LIST_ALL_JOBS_TO_ABORT = Function(
    name="procrastinate_list_jobs_to_abort_v1", arguments={"p_worker_id": "bigint"}
)
_LIST_JOBS_TO_ABORT = Function(
    name="procrastinate_list_jobs_to_abort_v2",
    arguments={"p_worker_id": "bigint", "p_job_ids": "bigint[]"},
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
    columns=OUTCOME_COLUMNS,
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
    _HEARTBEAT_OF_ALL,
    _HEARTBEAT,
    _SET_QUIET,
    _LIST_WRITERS,
    _LIST_ALL_JOBS_TO_ABORT,
    _LIST_JOBS_TO_ABORT,
    _PRUNE_WORKERS,
    _RECOVER_JOBS,
    _SWEEP,
    _RETIRE_JOBS,
    _CHANNELS,
)


class End(NamedTuple):
    """A run that ended, as a worker reports it."""

    job_id: int
    claim_id: int
    status: str
    """succeeded, failed or aborted."""
    delete: bool = False
    """Delete the job instead of keeping it with that status."""
    result: Written | None = None
    """What the task returned; None if nothing is to be stored."""
    error: types.JSONDict | None = None
    """What it raised: :meth:`.values.ErrorRecord.as_json`."""


@attrs.frozen(kw_only=True)
class Retry:
    """A run that failed and is to be tried again; None keeps what the job has."""

    job_id: int
    claim_id: int
    retry_at: datetime.datetime | None
    """None: after ``retry_in``."""
    priority: int | None = None
    queue: str | None = None
    lock: str | None = None
    retry_in: datetime.timedelta | None = None
    """Counted from now by the clock of the database, and no other; None: at once."""
    error: types.JSONDict | None = None
    """What the run raised: :meth:`.values.ErrorRecord.as_json`."""


def columns_of(ends: Sequence[End]) -> dict[str, Any]:
    job_ids, claim_ids, statuses, delete, _, _ = zip(*ends, strict=True) if ends else ((),) * 6
    return {
        "p_job_ids": job_ids,
        "p_claim_ids": claim_ids,
        "p_statuses": statuses,
        "p_delete": delete,
    }


def _job_of(row: Row, worker_id: int) -> jobs.Job:
    # Of all fields, one by one: __init__, which checks what the database has checked, takes
    # four times as long.
    job = object.__new__(jobs.Job)
    fields = job.__dict__
    fields["id"] = row[1]
    fields["status"] = row[3]
    fields["queue"] = row[4]
    fields["priority"] = row[6]
    fields["lock"] = row[7]
    fields["queueing_lock"] = row[8]
    fields["task_name"] = row[5]
    fields["task_kwargs"] = row[9]
    fields["scheduled_at"] = row[10]
    fields["attempts"] = row[11]
    fields["abort_requested"] = row[12]
    fields["worker_id"] = worker_id
    fields["options"] = None if row[17] is None else jobs.JobOptions.from_json(row[17])
    return job


def exchange(worker_id: int) -> Any:
    def read(rows: Rows) -> values.Exchange:
        # The hot path: one pass, by position.
        claimed: list[values.ClaimedJob] = []
        not_held: list[values.EndNotHeld] = []
        too_large: list[int] = []
        summary: Any = None
        for row in rows:
            if row[0] == "claimed":
                claimed.append(values.ClaimedJob._make((_job_of(row, worker_id), row[2])))
            elif row[0] == "not_held":
                not_held.append(
                    values.EndNotHeld(job_id=row[1], claim_id=row[2], status=row[3])
                )
            elif row[0] == "too_large":
                too_large.append(row[1])
            else:
                summary = row
        return values.Exchange(
            claimed=claimed,
            not_held=not_held,
            too_large=too_large,
            next_due_in=summary[13],
            contended=summary[14],
            more=summary[15],
            marks=summary[16],
        )

    return read


def outcomes(rows: Rows) -> list[values.Outcome]:
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
        decode=exchange(worker_id),
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
            **columns_of(ends),
        },
        decode=exchange(worker_id),
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
            **columns_of(ends),
        },
        decode=outcomes,
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
            "p_retry_ins": [retry.retry_in for retry in retries],
        },
        decode=outcomes,
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
        decode=outcomes,
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


def unregister_worker_v2(*, worker_id: int, run: str | None = None) -> Call[bool]:
    """
    Delete the row of a worker that ends; return whether it was there.

    Jobs that it still has in doing keep their status and lose their worker. With ``run``, what
    the worker said of itself when it registered: a row that is another's is left alone.

    Source: ``sql/functions/wire/unregister_worker_v2.sql``
    """
    return Call(
        function=_UNREGISTER_WORKER,
        args={"p_worker_id": worker_id, "p_run": run},
        decode=decode.one,
    )


def heartbeat_v1(*, worker_id: int, run: str | None = None) -> Call[list[values.HeldJob]]:
    """
    Say that a worker lives; return what the database has in doing under it.

    Parameters
    ----------
    worker_id
        The worker's id.
    run
        The ``run`` of the description with which it registered; None: not compared.

    Raises
    ------
    exceptions.WorkerNotRegistered
        ``PQ004``: the worker's row is gone, most probably pruned as stalled; or it is another
        worker's, which was given the id after a failover.

    Source: ``sql/functions/wire/heartbeat_v1.sql``
    """
    return Call(
        function=_HEARTBEAT_OF_ALL,
        args={"p_worker_id": worker_id, "p_run": run},
        decode=_held_jobs,
    )


def heartbeat_v2(
    *, worker_id: int, run: str | None = None, job_ids: Sequence[int] | None = None
) -> Call[list[values.HeldJob]]:
    """
    Say that a worker lives; return which jobs the database has in doing under it.

    Parameters
    ----------
    worker_id
        The worker's id.
    run
        The ``run`` of the description with which it registered; None: not compared.
    job_ids
        Which jobs it asks for; None: all, for which the database reads all that runs or ran.

    Raises
    ------
    exceptions.WorkerNotRegistered
        ``PQ004``: as for :func:`heartbeat_v1`.

    Source: ``sql/functions/wire/heartbeat_v2.sql``
    """
    return Call(
        function=_HEARTBEAT,
        args={"p_worker_id": worker_id, "p_run": run, "p_job_ids": job_ids},
        decode=_held_jobs,
    )


def _held_jobs(rows: Rows) -> list[values.HeldJob]:
    return [
        values.HeldJob(job_id=row[0], claim_id=row[1], abort_requested=row[2]) for row in rows
    ]


def set_quiet_v1(*, worker_id: int, quiet: bool) -> Call[None]:
    """
    Say whether a worker looks for jobs by itself, so that nobody need notify it.

    A worker that was quiet and means to sleep says so, and then asks
    :func:`list_writers_v1` whom it has to wait for.

    Raises
    ------
    exceptions.WorkerNotRegistered
        ``PQ004``: the worker's row is gone.

    Source: ``sql/functions/wire/set_quiet_v1.sql``
    """
    return Call(
        function=_SET_QUIET,
        args={"p_worker_id": worker_id, "p_quiet": quiet},
        decode=decode.nothing,
    )


def list_writers_v1() -> Call[frozenset[values.Writer]]:
    """
    Return the transactions that may have written jobs which nobody sees yet.

    Source: ``sql/functions/wire/list_writers_v1.sql``
    """
    return Call(
        function=_LIST_WRITERS,
        args={},
        decode=lambda rows: frozenset(
            values.Writer(pid=row[0], virtual_transaction=row[1]) for row in rows
        ),
    )


def list_jobs_to_abort_v1(*, worker_id: int) -> Call[list[int]]:
    """
    Return the ids of the jobs in doing under this worker that are asked to abort.

    Source: ``sql/functions/wire/list_jobs_to_abort_v1.sql``
    """
    return Call(
        function=_LIST_ALL_JOBS_TO_ABORT, args={"p_worker_id": worker_id}, decode=decode.column
    )


def list_jobs_to_abort_v2(
    *, worker_id: int, job_ids: Sequence[int] | None = None
) -> Call[list[int]]:
    """
    Return which of these jobs are in doing under this worker and asked to abort; None: of all.

    Source: ``sql/functions/wire/list_jobs_to_abort_v2.sql``
    """
    return Call(
        function=_LIST_JOBS_TO_ABORT,
        args={"p_worker_id": worker_id, "p_job_ids": job_ids},
        decode=decode.column,
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
        decode=outcomes,
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


def channels_v1(*, queues: Sequence[str] | None) -> Call[list[str]]:
    """
    Return the channels that a worker of these queues listens on; None means all queues.

    Source: ``sql/functions/wire/channels_v1.sql``
    """
    return Call(function=_CHANNELS, args={"p_queues": queues}, decode=decode.column)
