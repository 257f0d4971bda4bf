"""
The worker wire of what a job's options ask for: results, errors, progress, policies, keys.

One function for each file of ``sql/functions/wire`` that is about them, of the same name.
Functions over many jobs report on each of them instead of raising.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from procrastinate.rpc import decode, values, wire
from procrastinate.rpc.call import Call, Function

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from procrastinate import types
    from procrastinate.rpc.call import Row, Rows, Written

_FINISH_AND_FETCH = Function(
    name="procrastinate_finish_and_fetch_v2",
    arguments={
        "p_worker_id": "bigint",
        "p_queues": "text[]",
        "p_limit": "integer",
        "p_marks": "bigint[]",
        "p_job_ids": "bigint[]",
        "p_claim_ids": "bigint[]",
        "p_statuses": "procrastinate_job_status[]",
        "p_delete": "boolean[]",
        "p_results": "jsonb[]",
        "p_errors": "jsonb[]",
    },
    columns=wire.EXCHANGE_COLUMNS,
)
_RETRY_JOBS = Function(
    name="procrastinate_retry_jobs_v2",
    arguments={
        "p_worker_id": "bigint",
        "p_job_ids": "bigint[]",
        "p_claim_ids": "bigint[]",
        "p_retry_ats": "timestamp with time zone[]",
        "p_priorities": "integer[]",
        "p_queue_names": "text[]",
        "p_locks": "text[]",
        "p_errors": "jsonb[]",
        "p_retry_ins": "interval[]",
    },
    columns=wire.OUTCOME_COLUMNS,
)
_FAIL_JOBS = Function(
    name="procrastinate_fail_jobs_v1",
    arguments={
        "p_worker_id": "bigint",
        "p_job_ids": "bigint[]",
        "p_claim_ids": "bigint[]",
        "p_errors": "jsonb[]",
        "p_delete": "boolean[]",
    },
    columns=wire.OUTCOME_COLUMNS,
)
_UPDATE_JOBS = Function(
    name="procrastinate_update_jobs_v1",
    arguments={
        "p_worker_id": "bigint",
        "p_job_ids": "bigint[]",
        "p_claim_ids": "bigint[]",
        "p_progress": "double precision[]",
        "p_meta": "jsonb[]",
    },
    columns=("job_id", "outcome"),
)
_EXPIRE_JOBS = Function(
    name="procrastinate_expire_jobs_v1",
    arguments={"p_older_than": "interval", "p_max_jobs": "integer"},
    columns=wire.OUTCOME_COLUMNS,
)
_GET_RESULTS = Function(
    name="procrastinate_get_results_v1",
    arguments={"p_job_ids": "bigint[]"},
    columns=(
        "job_id",
        "status",
        "attempts",
        "stored",
        "result",
        "error",
        "progress",
        "meta",
        "updated_at",
        "expires_at",
        "keeps",
    ),
)
_FIND_KEYS = Function(
    name="procrastinate_find_keys_v1",
    arguments={"p_keys": "text[]"},
    columns=("key", "job_id"),
)
_ANNOUNCE_ENDS = Function(name="procrastinate_announce_ends_v1")

#: Every function of this module, for the test that compares them with the catalogue.
FUNCTIONS = (
    _FINISH_AND_FETCH,
    _RETRY_JOBS,
    _FAIL_JOBS,
    _UPDATE_JOBS,
    _EXPIRE_JOBS,
    _GET_RESULTS,
    _FIND_KEYS,
    _ANNOUNCE_ENDS,
)


@attrs.frozen(kw_only=True)
class Update:
    """What a running task tells; None keeps what was told before."""

    job_id: int
    claim_id: int
    progress: float | None = None
    """From 0.0 to 1.0."""
    meta: types.JSONDict | Written | None = None
    """Replaces the one before."""


def finish_and_fetch_v2(
    *,
    worker_id: int,
    queues: Sequence[str] | None,
    limit: int,
    marks: Sequence[int] | None,
    ends: Sequence[wire.End],
) -> Call[values.Exchange]:
    """
    Report runs that ended, with their results and errors, and claim jobs for the free slots.

    ``doing`` -> ``succeeded``, ``failed`` or ``aborted`` (``attempts`` + 1) or gone;
    ``todo`` -> ``doing``. A result is stored if the job has a ttl; one that is too large makes
    the job ``failed``, and its error says so. Otherwise as :func:`.wire.finish_and_fetch_v1`,
    which does for ends that have neither result nor error.

    Raises
    ------
    exceptions.WorkerNotRegistered
        ``PQ004``: the worker's row is gone. Nothing was changed, no end applied.
    exceptions.WrongIsolation
        ``PQ005``: the transaction is REPEATABLE READ or stricter.

    Source: ``sql/functions/wire/finish_and_fetch_v2.sql``
    """
    return Call(
        function=_FINISH_AND_FETCH,
        args={
            "p_worker_id": worker_id,
            "p_queues": queues,
            "p_limit": limit,
            "p_marks": marks,
            **wire.columns_of(ends),
            "p_results": [end.result for end in ends],
            "p_errors": [end.error for end in ends],
        },
        decode=wire.exchange(worker_id),
    )


def retry_jobs_v2(
    *, worker_id: int, retries: Sequence[wire.Retry]
) -> Call[list[values.Outcome]]:
    """
    Give jobs back to be run again, as :func:`.wire.retry_jobs_v1`, and keep what they raised.

    ``doing`` -> ``todo`` (``attempts`` + 1). The outcome of each is ``retried``; ``failed`` if
    it was asked to abort or its queueing lock is taken (the reason is in its event); or
    ``not_held``.

    Source: ``sql/functions/wire/retry_jobs_v2.sql``
    """
    args = wire.retry_jobs_v1(worker_id=worker_id, retries=retries).args
    return Call(
        function=_RETRY_JOBS,
        args={**args, "p_errors": [retry.error for retry in retries]},
        decode=wire.outcomes,
    )


def fail_jobs_v1(*, worker_id: int, ends: Sequence[wire.End]) -> Call[list[values.Outcome]]:
    """
    Report runs that failed; the retry policy of each job decides what becomes of it.

    ``doing`` -> ``todo`` at the time that the policy computes, or ``failed`` or gone if it
    allows no more runs (``attempts`` + 1 either way). Of each end the status is not told. The
    outcome of each is ``retried``, ``failed`` or ``not_held``.

    Source: ``sql/functions/wire/fail_jobs_v1.sql``
    """
    return Call(
        function=_FAIL_JOBS,
        args={
            "p_worker_id": worker_id,
            "p_job_ids": [end.job_id for end in ends],
            "p_claim_ids": [end.claim_id for end in ends],
            "p_errors": [end.error for end in ends],
            "p_delete": [end.delete for end in ends],
        },
        decode=wire.outcomes,
    )


def update_jobs_v1(*, worker_id: int, updates: Sequence[Update]) -> Call[dict[int, str]]:
    """
    Store the progress and meta of running jobs, and touch their heartbeats.

    An update that has neither only touches. Returns the outcome of each by its id:
    ``updated`` or ``not_held``.

    Source: ``sql/functions/wire/update_jobs_v1.sql``
    """
    return Call(
        function=_UPDATE_JOBS,
        args={
            "p_worker_id": worker_id,
            "p_job_ids": [update.job_id for update in updates],
            "p_claim_ids": [update.claim_id for update in updates],
            "p_progress": [update.progress for update in updates],
            "p_meta": [update.meta for update in updates],
        },
        decode=decode.pairs,
    )


def expire_jobs_v1(
    *, older_than: datetime.timedelta, max_jobs: int = 1000
) -> Call[list[values.Outcome]]:
    """
    End the runs that are past their timeout or heartbeat and whose worker can't.

    It is gone, or silent for longer than ``older_than``. ``doing`` -> ``todo`` or ``failed``,
    as the policy of each job says. The outcome of each is ``retried`` or ``failed``.

    Source: ``sql/functions/wire/expire_jobs_v1.sql``
    """
    return Call(
        function=_EXPIRE_JOBS,
        args={"p_older_than": older_than, "p_max_jobs": max_jobs},
        decode=wire.outcomes,
    )


def get_results_v1(*, job_ids: Sequence[int]) -> Call[list[values.JobReport]]:
    """
    Return how far each of these jobs is and what came of it, if it exists or its result does.

    Source: ``sql/functions/wire/get_results_v1.sql``
    """
    return Call(function=_GET_RESULTS, args={"p_job_ids": job_ids}, decode=_reports)


def find_keys_v1(*, keys: Sequence[str]) -> Call[dict[str, int]]:
    """
    Return the id of the latest job of each key, whatever its status, by the key.

    Source: ``sql/functions/wire/find_keys_v1.sql``
    """
    return Call(function=_FIND_KEYS, args={"p_keys": keys}, decode=decode.pairs)


def announce_ends_v1() -> Call[datetime.datetime | None]:
    """
    Let the ends of jobs that keep a result be announced, for whoever waits: a minute from now on.

    Returns until when; None if that could not be written down just now. An end that was under
    way before is not announced, so look at the jobs again soon.

    Source: ``sql/functions/wire/announce_ends_v1.sql``
    """
    return Call(function=_ANNOUNCE_ENDS, args={}, decode=decode.one)


def _reports(rows: Rows) -> list[values.JobReport]:
    return [_report(row) for row in rows]


def _report(row: Row) -> values.JobReport:
    error = row[5]
    return values.JobReport(
        job_id=row[0],
        status=row[1],
        attempts=row[2],
        stored=row[3],
        result=row[4],
        error=None if error is None else values.ErrorRecord.from_json(error),
        progress=row[6],
        meta=row[7],
        updated_at=row[8],
        expires_at=row[9],
        keeps=row[10],
    )
