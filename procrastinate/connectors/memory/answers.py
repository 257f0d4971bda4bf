"""
The answer to each call of :mod:`procrastinate.rpc`: rows, as the SQL function returns them.

Arguments come by the names that the SQL function has.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from procrastinate import exceptions, sql, types
from procrastinate.connectors.memory import (
    explain,
    listeners,
    listing,
    many,
    refusals,
    results,
    runs,
    transitions,
    upkeep,
    wishes,
)
from procrastinate.rpc.call import Rows

if TYPE_CHECKING:
    from procrastinate.connectors.memory.store import JobRow, Store

Answer: TypeAlias = Callable[..., Rows]


def _column(values: Iterable[Any]) -> Rows:
    return [(value,) for value in values]


def _one(value: Any) -> Rows:
    return [(value,)]


# Deferring


def _new_jobs(
    p_queue_names: Sequence[str],
    p_task_names: Sequence[str],
    p_priorities: Sequence[int | None],
    p_locks: Sequence[str | None],
    p_queueing_locks: Sequence[str | None],
    p_args: Sequence[Any],
    p_scheduled_ats: Sequence[datetime.datetime | None],
    p_options: Sequence[Any] | None = None,
) -> list[JobRow]:
    rows = [
        transitions.job_row(*values)
        for values in zip(
            p_queue_names,
            p_task_names,
            p_priorities,
            p_locks,
            p_queueing_locks,
            # A null of SQL, unlike the null of JSON in a job to defer, means none.
            [{} if args is None else args for args in p_args],
            p_scheduled_ats,
            strict=True,
        )
    ]
    return rows if p_options is None else wishes.with_options(rows, p_options)


def _defer_jobs(store: Store, **columns: Sequence[Any]) -> Rows:
    return _column(transitions.defer(store, _new_jobs(**columns)))


def _try_defer_jobs(store: Store, **columns: Sequence[Any]) -> Rows:
    rows = _new_jobs(**columns)
    return [
        (ordinal, job_id, row["queueing_lock"] if job_id is None else None)
        for ordinal, (row, job_id) in enumerate(
            zip(rows, transitions.try_defer(store, rows), strict=True), start=1
        )
    ]


def _try_defer_jobs_with_options(store: Store, **columns: Sequence[Any]) -> Rows:
    tried = transitions.try_defer_with_keys(store, _new_jobs(**columns))
    return [(ordinal, *one) for ordinal, one in enumerate(tried, start=1)]


def _defer_job(store: Store, **values: Any) -> Rows:
    options = wishes.taken_from(values)
    rows = [transitions.job_row(**values)]
    return _column(transitions.defer(store, wishes.with_options(rows, [options])))


def _defer_rows(store: Store, jobs: Sequence[types.JobToDefer]) -> list[int]:
    return transitions.defer(store, [transitions.job_row(**job._asdict()) for job in jobs])


def _defer_periodic_job(
    store: Store,
    *,
    p_task_name: str,
    p_periodic_id: str | None,
    p_defer_timestamp: int | None,
    p_queue_name: str,
    p_priority: int,
    p_lock: str | None,
    p_queueing_lock: str | None,
    p_args: Any,
    p_options: Any = None,
) -> Rows:
    row = transitions.job_row(
        p_queue_name,
        p_task_name,
        p_priority,
        p_lock,
        p_queueing_lock,
        {} if p_args is None else p_args,
        None,
    )
    refusals.check_text(p_periodic_id, "periodic id", required=False)
    if p_defer_timestamp is None:
        raise exceptions.InvalidArgument("The tick of the periodic task is null")
    (row,) = wishes.with_options([row], [p_options])
    return _one(
        transitions.defer_periodic(
            store, row, periodic_id=p_periodic_id or "", timestamp=p_defer_timestamp
        )
    )


def _defer_periodic_job_of_3x(store: Store, **values: Any) -> Rows:
    return _defer_periodic_job(store, **{f"p{name}": value for name, value in values.items()})


# By hand


def _finish_job(store: Store, *, job_id: int, end_status: str, delete_job: bool) -> Rows:
    transitions.finish_by_id(store, job_id=job_id, status=end_status, delete=delete_job)
    return _one(None)


def _cancel(
    store: Store, *, job_id: int, abort: bool = True, delete_job: bool = False
) -> int | None:
    return transitions.cancel(store, job_id=job_id, abort=abort, delete=delete_job)


def _retry_job(
    store: Store,
    *,
    job_id: int,
    retry_at: datetime.datetime | None,
    priority: int | None,
    queue_name: str | None,
    lock: str | None,
) -> Rows:
    if queue_name is not None:
        refusals.check_text(queue_name, "queue name")
    done = transitions.retry_by_id(
        store,
        job_id=job_id,
        retry_at=retry_at or store.clock(),
        priority=priority,
        queue_name=queue_name,
        lock=lock,
    )
    if not done:
        refusals.check_job(store.jobs, job_id)
    return _one(done)


def _retry_job_of_3x(statuses: Sequence[str], refusal: str) -> Answer:
    def retry(
        store: Store,
        *,
        job_id: int,
        retry_at: datetime.datetime,
        new_priority: int | None = None,
        new_queue_name: str | None = None,
        new_lock: str | None = None,
    ) -> Rows:
        done = transitions.retry_by_id(
            store,
            job_id=job_id,
            retry_at=retry_at,
            priority=new_priority,
            queue_name=new_queue_name,
            lock=new_lock,
            statuses=statuses,
        )
        if not done:
            refusals.refuse(f"{refusal} (job id: {job_id})")
        return _one(None)

    return retry


# Workers and upkeep


def _register_worker(
    store: Store,
    *,
    p_name: str | None = None,
    p_queues: Sequence[str] | None = None,
    p_description: Mapping[str, Any] | None = None,
) -> Rows:
    return _one(upkeep.register(store, name=p_name, queues=p_queues))


def _heartbeat(
    store: Store,
    *,
    p_worker_id: int,
    p_run: str | None = None,
    p_job_ids: Sequence[int] | None = None,
) -> Rows:
    # No failover gives an id out again here: a row is its worker's.
    refusals.check_worker(store.workers, p_worker_id)
    upkeep.beat(store, p_worker_id)
    held = listing.held_by(store, p_worker_id)
    return [row for row in held if p_job_ids is None or row[0] in p_job_ids]


def _set_quiet(store: Store, *, p_worker_id: int, p_quiet: bool) -> Rows:
    # Notifications cost nothing here: all are told, whatever they say.
    refusals.check_worker(store.workers, p_worker_id)
    return _one(None)


def _list_writers(_store: Store) -> Rows:
    return []  # Each call is done at once: nobody is in the middle of one.


def _update_heartbeat(store: Store, *, worker_id: int) -> Rows:
    upkeep.beat(store, worker_id)
    return _one(None)


def _sweep(store: Store, *, p_max_jobs: int) -> Rows:
    upkeep.sweep(store, p_max_jobs)
    return [(0, 0)]


def _delete_old_jobs(store: Store, *, after_id: int, max_jobs: int, **values: Any) -> Rows:
    values["statuses"] = [refusals.plain_status(status) for status in values["statuses"]]
    looked_at = sorted(job_id for job_id in store.jobs if job_id > after_id)[:max_jobs]
    deleted = upkeep.delete_old(store, job_ids=looked_at, **values)
    return [(deleted, looked_at[-1] if looked_at and len(looked_at) == max_jobs else None)]


def _purge_jobs(store: Store, **values: Any) -> Rows:
    if values["statuses"] is not None:
        values["statuses"] = [refusals.plain_status(status) for status in values["statuses"]]
    return _one(upkeep.purge(store, **values))


def _recover_stalled_jobs(store: Store, **values: Any) -> Rows:
    return _column(upkeep.recover(store, **values))


def _pause_queue(store: Store, **values: Any) -> Rows:
    upkeep.pause(store, **values)
    return _one(None)


def _resume_queue(store: Store, *, queue_name: str) -> Rows:
    upkeep.resume(store, queue_name=queue_name)
    return _one(None)


def _prune_of_3x(store: Store, *, seconds_since_heartbeat: float) -> Rows:
    older_than = datetime.timedelta(seconds=seconds_since_heartbeat)
    return _column(upkeep.prune(store, older_than))


# Asking


def _channels(store: Store, *, p_queues: Sequence[str] | None) -> Rows:
    if p_queues is None:
        return _one(listeners.ANY_QUEUE)
    return _column(sorted({listeners.channel_of(queue) for queue in p_queues}))


def _version(store: Store) -> Rows:
    names = sorted(path.name for path in (sql.root / "migrations").glob("*.sql"))
    return _one(names[-1].split("_")[0])


def _list_jobs(store: Store, **filters: Any) -> Rows:
    return [listing.as_row(job) for job in listing.matching(store, **filters)]


def _stalled(store: Store, **filters: Any) -> Rows:
    return [listing.as_row(job) for job in listing.stalled(store, **filters)]


def _long_running(store: Store, **filters: Any) -> Rows:
    return [listing.as_row(job) for job in listing.long_running(store, **filters)]


def _get_job_status(store: Store, *, job_id: int) -> Rows:
    return [(store.jobs[job_id]["status"],)] if job_id in store.jobs else []


def _unregister_worker(store: Store, *, p_worker_id: int, p_run: str | None = None) -> Rows:
    # No failover gives an id out again here: a row is its worker's.
    return _one(bool(store.remove_workers([p_worker_id])))


def _unregister_of_3x(store: Store, *, worker_id: int) -> Rows:
    store.remove_workers([worker_id])
    return _one(None)


def _prune_workers(store: Store, *, p_older_than: datetime.timedelta) -> Rows:
    return _column(upkeep.prune(store, p_older_than))


def _prune_stalled_workers(store: Store, *, older_than: datetime.timedelta) -> Rows:
    return _column(upkeep.prune(store, older_than))


def _worker_jobs_to_abort(
    store: Store, *, p_worker_id: int, p_job_ids: Sequence[int] | None = None
) -> Rows:
    found = listing.to_abort(store, worker_id=p_worker_id)
    return _column([job for job in found if p_job_ids is None or job in p_job_ids])


def _jobs_to_abort(store: Store, **filters: Any) -> Rows:
    return _column(listing.to_abort(store, **filters))


def _defer_rows_front(store: Store, *, jobs: Sequence[types.JobToDefer]) -> Rows:
    return _column(_defer_rows(store, jobs))


def _defer_rows_of_3x(store: Store, *, jobs: Sequence[types.JobToDefer]) -> Rows:
    return _one(_defer_rows(store, jobs))


def _cancel_job(store: Store, **values: Any) -> Rows:
    return _one(_cancel(store, **values) is not None)


def _cancel_job_of_3x(store: Store, **values: Any) -> Rows:
    return _one(_cancel(store, **values))


def _reschedule_job(store: Store, **values: Any) -> Rows:
    return _one(transitions.reschedule(store, **values))


def _explain_job(store: Store, *, job_id: int) -> Rows:
    return list(explain.explain(store, job_id=job_id))


def _check(store: Store) -> Rows:
    return []  # Nothing is derived here that could disagree with the jobs.


def _repair(store: Store) -> Rows:
    return _one(0)


def _now(store: Store) -> Rows:
    return _one(store.clock())


#: By the name of the rpc function.
ANSWERS: Mapping[str, Answer] = {
    # wire
    "procrastinate_fetch_jobs_v1": runs.fetch_jobs,
    "procrastinate_finish_and_fetch_v1": runs.finish_and_fetch,
    "procrastinate_finish_jobs_v1": runs.finish_jobs,
    "procrastinate_retry_jobs_v1": runs.retry_jobs,
    "procrastinate_release_jobs_v1": runs.release_jobs,
    "procrastinate_register_worker_v2": _register_worker,
    "procrastinate_unregister_worker_v2": _unregister_worker,
    "procrastinate_heartbeat_v1": _heartbeat,
    "procrastinate_heartbeat_v2": _heartbeat,
    "procrastinate_set_quiet_v1": _set_quiet,
    "procrastinate_list_writers_v1": _list_writers,
    "procrastinate_list_jobs_to_abort_v1": _worker_jobs_to_abort,
    "procrastinate_list_jobs_to_abort_v2": _worker_jobs_to_abort,
    "procrastinate_prune_workers_v1": _prune_workers,
    "procrastinate_recover_jobs_v1": many.recover_jobs,
    "procrastinate_sweep_v1": _sweep,
    "procrastinate_retire_jobs_v1": many.retire_jobs,
    "procrastinate_defer_jobs_v2": _defer_jobs,
    "procrastinate_try_defer_jobs_v1": _try_defer_jobs,
    "procrastinate_defer_periodic_job_v3": _defer_periodic_job,
    "procrastinate_defer_jobs_v3": _defer_jobs,
    "procrastinate_try_defer_jobs_v2": _try_defer_jobs_with_options,
    "procrastinate_defer_periodic_job_v4": _defer_periodic_job,
    "procrastinate_finish_and_fetch_v2": runs.finish_and_fetch_with_results,
    "procrastinate_retry_jobs_v2": runs.retry_jobs,
    "procrastinate_fail_jobs_v1": runs.fail_jobs,
    "procrastinate_update_jobs_v1": results.update_jobs,
    "procrastinate_expire_jobs_v1": runs.expire_jobs,
    "procrastinate_get_results_v1": results.get_results,
    "procrastinate_find_keys_v1": results.find_keys,
    "procrastinate_announce_ends_v1": results.announce_ends,
    "procrastinate_channels_v1": _channels,
    # front
    "procrastinate_defer_job": _defer_job,
    "procrastinate_defer_jobs": _defer_rows_front,
    "procrastinate_cancel_job": _cancel_job,
    "procrastinate_abort_job": _cancel_job,
    "procrastinate_retry_job": _retry_job,
    "procrastinate_retry_jobs": many.retry_jobs,
    "procrastinate_cancel_jobs": many.cancel_jobs,
    "procrastinate_reschedule_job": _reschedule_job,
    "procrastinate_pause_queue": _pause_queue,
    "procrastinate_resume_queue": _resume_queue,
    "procrastinate_purge_jobs": _purge_jobs,
    "procrastinate_prune_stalled_workers": _prune_stalled_workers,
    "procrastinate_recover_stalled_jobs": _recover_stalled_jobs,
    "procrastinate_get_result": results.get_result,
    "procrastinate_watch_job": results.watch_job,
    "procrastinate_explain_job": _explain_job,
    "procrastinate_check": _check,
    "procrastinate_repair": _repair,
    "procrastinate_version": _version,
    "procrastinate_now": _now,
    # old wire
    "procrastinate_defer_jobs_v1": _defer_rows_of_3x,
    "procrastinate_defer_periodic_job_v2": _defer_periodic_job_of_3x,
    "procrastinate_fetch_job_v2": runs.fetch_job,
    "procrastinate_finish_job_v1": _finish_job,
    "procrastinate_cancel_job_v1": _cancel_job_of_3x,
    "procrastinate_retry_job_v1": _retry_job_of_3x(
        ("doing",), 'Job was not found or not in "doing" status'
    ),
    "procrastinate_retry_job_v2": _retry_job_of_3x(
        ("doing", "failed"), "Job was not found or has an invalid status to retry"
    ),
    "procrastinate_register_worker_v1": _register_worker,
    "procrastinate_unregister_worker_v1": _unregister_of_3x,
    "procrastinate_update_heartbeat_v1": _update_heartbeat,
    "procrastinate_prune_stalled_workers_v1": _prune_of_3x,
    # the queries that are no functions
    "list_jobs": _list_jobs,
    "list_queues": listing.count_by("queue_name"),
    "list_tasks": listing.count_by("task_name"),
    "list_locks": listing.count_by("lock"),
    "get_job_status": _get_job_status,
    "list_jobs_to_abort": _jobs_to_abort,
    "select_stalled_jobs_by_heartbeat": _stalled,
    "select_stalled_jobs_by_started": _long_running,
    "delete_old_jobs": _delete_old_jobs,
}
