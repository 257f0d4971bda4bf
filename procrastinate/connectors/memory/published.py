"""The queries that 3.x published, by their names in ``procrastinate.sql.queries``."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from procrastinate import sql
from procrastinate.connectors.memory import answers, listing, refusals, upkeep

if TYPE_CHECKING:
    from procrastinate.connectors.memory.store import Store

Answer: TypeAlias = Callable[..., list[dict[str, Any]]]


def names() -> dict[str, str]:
    """Return the names of the published queries, by their texts."""
    return {str(text): name for name, text in sql.queries.items()}


def _through(function: str, *columns: str, **renamed: str) -> Answer:
    """Answer as a rpc function does, whose arguments have other names."""

    def answer(store: Store, **arguments: Any) -> list[dict[str, Any]]:
        rows = answers.ANSWERS[function](
            store, **{renamed.get(name, name): value for name, value in arguments.items()}
        )
        return [dict(zip(columns, row, strict=True)) for row in rows]

    return answer


def _counts(function: str) -> Answer:
    def answer(store: Store, **arguments: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "jobs_count": jobs_count,
                "stats": dict(zip(listing.COUNTED, counts, strict=True)),
            }
            for name, jobs_count, *counts in answers.ANSWERS[function](store, **arguments)
        ]

    return answer


def _list_jobs(store: Store, **filters: Any) -> list[dict[str, Any]]:
    return [dict(job) for job in listing.matching(store, **filters)]


def _fetch_job(
    store: Store, *, queues: Sequence[str] | None, worker_id: int
) -> list[dict[str, Any]]:
    rows = answers.ANSWERS["procrastinate_fetch_job_v2"](
        store, target_queue_names=queues, p_worker_id=worker_id
    )
    if not rows:
        return [dict.fromkeys(_FETCHED)]
    (job,) = listing.matching(store, id=rows[0][0])
    return [{name: job[name] for name in _FETCHED}]


_FETCHED = (
    "id",
    "status",
    "task_name",
    "priority",
    "lock",
    "queueing_lock",
    "args",
    "scheduled_at",
    "queue_name",
    "attempts",
    "worker_id",
)


def _stalled(
    store: Store, *, seconds_since_heartbeat: float, queue: str | None, task_name: str | None
) -> list[dict[str, Any]]:
    older_than = datetime.timedelta(seconds=seconds_since_heartbeat)
    return [
        {name: job[name] for name in _FETCHED}
        for job in listing.stalled(
            store, older_than=older_than, queue_name=queue, task_name=task_name
        )
    ]


def _long_running(
    store: Store, *, nb_seconds: float, queue: str | None, task_name: str | None
) -> list[dict[str, Any]]:
    older_than = datetime.timedelta(seconds=nb_seconds)
    return [
        {
            **{name: job[name] for name in _FETCHED},
            "started_at": store.claims[job["id"]].started_at,
        }
        for job in listing.long_running(
            store, older_than=older_than, queue_name=queue, task_name=task_name
        )
    ]


def _delete_old_jobs(
    store: Store, *, nb_hours: float, queue: str | None, statuses: Sequence[str]
) -> list[dict[str, Any]]:
    upkeep.delete_old(
        store,
        job_ids=list(store.jobs),
        older_than=datetime.timedelta(hours=nb_hours),
        queue_name=queue,
        statuses=[refusals.plain_status(status) for status in statuses],
    )
    return []


def _count_jobs_status(store: Store) -> list[dict[str, Any]]:
    statuses = [job["status"] for job in store.jobs.values()]
    return [
        {"status": status, "count": statuses.count(status)} for status in sorted({*statuses})
    ]


ANSWERS: Mapping[str, Answer] = {
    "defer_jobs": _through("procrastinate_defer_jobs", "id"),
    "defer_periodic_job": _through(
        "procrastinate_defer_periodic_job_v3",
        "id",
        queue="p_queue_name",
        lock="p_lock",
        queueing_lock="p_queueing_lock",
        task_name="p_task_name",
        priority="p_priority",
        periodic_id="p_periodic_id",
        defer_timestamp="p_defer_timestamp",
        args="p_args",
    ),
    "fetch_job": _fetch_job,
    "select_stalled_jobs_by_started": _long_running,
    "select_stalled_jobs_by_heartbeat": _stalled,
    "delete_old_jobs": _delete_old_jobs,
    "finish_job": _through(
        "procrastinate_finish_job_v1", "procrastinate_finish_job_v1", status="end_status"
    ),
    "cancel_job": _through("procrastinate_cancel_job_v1", "id"),
    "get_job_status": _through("get_job_status", "status"),
    "retry_job": _through("procrastinate_retry_job_v2", "procrastinate_retry_job_v2"),
    "list_jobs": _list_jobs,
    "list_queues": _counts("list_queues"),
    "list_tasks": _counts("list_tasks"),
    "list_locks": _counts("list_locks"),
    "count_jobs_status": _count_jobs_status,
    "list_jobs_to_abort": _through("list_jobs_to_abort", "id"),
    "register_worker": _through("procrastinate_register_worker_v1", "worker_id"),
    "unregister_worker": _through(
        "procrastinate_unregister_worker_v1", "procrastinate_unregister_worker_v1"
    ),
    "update_heartbeat": _through(
        "procrastinate_update_heartbeat_v1", "procrastinate_update_heartbeat_v1"
    ),
    "prune_stalled_workers": _through("procrastinate_prune_stalled_workers_v1", "worker_id"),
}
