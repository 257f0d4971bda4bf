"""
What a client may say to the queue, as SQL text.

The races step these statements by hand and the histories draw them at random. All values are
the tests' own, so they are written into the text, where a failing transcript shows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.python.races import harness


def literal(value: object, cast: str = "") -> str:
    suffix = f"::{cast}" if cast else ""
    if value is None:
        return f"null{suffix}"
    if isinstance(value, bool):
        return str(value).lower() + suffix
    if isinstance(value, int | float):
        return str(value) + suffix
    text = str(value).replace("'", "''")
    return f"'{text}'{suffix}"


def array(values: Sequence[object] | None, kind: str) -> str:
    if values is None:
        return f"null::{kind}[]"
    return f"array[{', '.join(literal(value) for value in values)}]::{kind}[]"


def _job_arrays(
    queues: Sequence[str],
    priorities: Sequence[int] | None,
    locks: Sequence[str | None] | None,
    queueing_locks: Sequence[str | None] | None,
    scheduled_ats: Sequence[str | None] | None,
) -> str:
    n = len(queues)
    return (
        f"p_queue_names => {array(queues, 'text')}, p_task_names => {array(['t'] * n, 'text')},"
        f" p_priorities => {array(priorities or [0] * n, 'integer')},"
        f" p_locks => {array(locks or [None] * n, 'text')},"
        f" p_queueing_locks => {array(queueing_locks or [None] * n, 'text')},"
        f" p_args => {array(['{}'] * n, 'jsonb')},"
        f" p_scheduled_ats => {array(scheduled_ats or [None] * n, 'timestamptz')}"
    )


def defer(
    *queues: str,
    priorities: Sequence[int] | None = None,
    locks: Sequence[str | None] | None = None,
    queueing_locks: Sequence[str | None] | None = None,
    scheduled_ats: Sequence[str | None] | None = None,
) -> str:
    jobs = _job_arrays(queues or ("a",), priorities, locks, queueing_locks, scheduled_ats)
    return f"select id from procrastinate_defer_jobs_v2({jobs}) as id"


def try_defer(
    *queues: str,
    priorities: Sequence[int] | None = None,
    locks: Sequence[str | None] | None = None,
    queueing_locks: Sequence[str | None] | None = None,
    scheduled_ats: Sequence[str | None] | None = None,
) -> str:
    jobs = _job_arrays(queues or ("a",), priorities, locks, queueing_locks, scheduled_ats)
    return f"select ordinal, job_id, conflict from procrastinate_try_defer_jobs_v1({jobs})"


def defer_one(
    queue: str = "a",
    *,
    lock: str | None = None,
    queueing_lock: str | None = None,
    priority: int = 0,
    scheduled_at: str | None = None,
) -> str:
    return (
        f"select procrastinate_defer_job({literal(queue)}, 't', priority => {priority},"
        f" lock => {literal(lock)}, queueing_lock => {literal(queueing_lock)},"
        f" scheduled_at => {literal(scheduled_at, 'timestamptz')}) as id"
    )


def defer_periodic(
    timestamp: int,
    *,
    queue: str = "a",
    lock: str | None = None,
    queueing_lock: str | None = None,
) -> str:
    return (
        f"select procrastinate_defer_periodic_job_v3('t', 'p', {timestamp}, {literal(queue)},"
        f" 0, {literal(lock)}, {literal(queueing_lock)}, '{{}}'::jsonb) as id"
    )


def fetch(
    worker: int,
    limit: int = 1,
    queues: Sequence[str] | None = None,
    marks: Sequence[int] | None = None,
) -> str:
    return (
        f"select * from procrastinate_fetch_jobs_v1({worker}, {array(queues, 'text')}, {limit},"
        f" {array(marks, 'bigint')})"
    )


def _ids(claims: Sequence[harness.Claim]) -> str:
    jobs = array([claim.job_id for claim in claims], "bigint")
    return f"{jobs}, {array([claim.claim_id for claim in claims], 'bigint')}"


def finish(
    worker: int,
    claims: Sequence[harness.Claim],
    status: str = "succeeded",
    *,
    delete: bool = False,
) -> str:
    statuses = array([status] * len(claims), "procrastinate_job_status")
    return (
        f"select * from procrastinate_finish_jobs_v1({worker}, {_ids(claims)}, {statuses},"
        f" {array([delete] * len(claims), 'boolean')})"
    )


def finish_and_fetch(
    worker: int,
    claims: Sequence[harness.Claim],
    limit: int = 1,
    *,
    queues: Sequence[str] | None = None,
    marks: Sequence[int] | None = None,
    status: str = "succeeded",
    delete: bool = False,
) -> str:
    statuses = array([status] * len(claims), "procrastinate_job_status")
    return (
        f"select * from procrastinate_finish_and_fetch_v1({worker}, {array(queues, 'text')},"
        f" {limit}, {array(marks, 'bigint')}, {_ids(claims)}, {statuses},"
        f" {array([delete] * len(claims), 'boolean')})"
    )


def retry(
    worker: int,
    claims: Sequence[harness.Claim],
    *,
    retry_at: str | None = None,
    priority: int | None = None,
    queue: str | None = None,
    lock: str | None = None,
) -> str:
    n = len(claims)
    return (
        f"select * from procrastinate_retry_jobs_v1({worker}, {_ids(claims)},"
        f" {array([retry_at] * n, 'timestamptz')}, {array([priority] * n, 'integer')},"
        f" {array([queue] * n, 'text')}, {array([lock] * n, 'text')})"
    )


def release(worker: int, claims: Sequence[harness.Claim]) -> str:
    return f"select * from procrastinate_release_jobs_v1({worker}, {_ids(claims)})"


def cancel(job: int, *, abort: bool = False, delete: bool = False) -> str:
    return (
        f"select procrastinate_cancel_job({job}, abort => {literal(abort)},"
        f" delete_job => {literal(delete)}) as done"
    )


def abort(job: int) -> str:
    return f"select procrastinate_abort_job({job}) as done"


def retry_by_id(
    job: int,
    *,
    retry_at: str | None = None,
    priority: int | None = None,
    queue: str | None = None,
    lock: str | None = None,
) -> str:
    return (
        f"select procrastinate_retry_job({job}, {literal(retry_at, 'timestamptz')},"
        f" {literal(priority, 'integer')}, {literal(queue, 'text')}, {literal(lock, 'text')})"
        " as done"
    )


def reschedule(job: int, at: str | None) -> str:
    moment = "procrastinate_now()" if at is None else literal(at, "timestamptz")
    return f"select procrastinate_reschedule_job({job}, {moment}) as done"


def pause(queue: str) -> str:
    return f"select procrastinate_pause_queue({literal(queue)}, 'a test')"


def resume(queue: str) -> str:
    return f"select procrastinate_resume_queue({literal(queue)})"


def heartbeat(worker: int) -> str:
    return f"select * from procrastinate_heartbeat_v1({worker})"


def set_quiet(worker: int, *, quiet: bool) -> str:
    return f"select procrastinate_set_quiet_v1({worker}, {literal(quiet)})"


def prune(older_than: str = "30 seconds") -> str:
    return f"select * from procrastinate_prune_workers_v1({literal(older_than, 'interval')})"


def unregister(worker: int) -> str:
    return f"select procrastinate_unregister_worker_v2({worker})"


def recover(older_than: str = "30 seconds") -> str:
    return (
        f"select id from procrastinate_recover_stalled_jobs({literal(older_than, 'interval')})"
        " as id"
    )


SWEEP = "select promoted, unlinked from procrastinate_sweep_v1()"
LIST_WRITERS = "select pid, virtual_transaction from procrastinate_list_writers_v1()"
CHECK = "select to_jsonb(c)::text as breach from procrastinate_check() as c"


def set_clock(at: str | None) -> str:
    return f"select set_config('procrastinate.now', {literal(at or '')}, false)"
