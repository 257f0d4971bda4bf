"""Questions about jobs: what the plain queries of :mod:`procrastinate.rpc.listing` answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from procrastinate.connectors.memory import refusals
from procrastinate.rpc import decode

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Sequence

    from procrastinate.connectors.memory.store import JobRow, Store
    from procrastinate.rpc.call import Row

COUNTED = ("todo", "doing", "succeeded", "failed", "cancelled", "aborted")


def as_row(job: JobRow) -> Row:
    """Return a job as its row: what callers get is a copy of the moment."""
    return tuple(
        dict(job[column]) if column == "args" else job[column] for column in decode.JOB_COLUMNS
    )


def matching(store: Store, **filters: Any) -> list[JobRow]:
    """Return the jobs that have these values, by id; None filters nothing."""
    if filters.get("status") is not None:
        filters["status"] = refusals.plain_status(filters["status"])
    wanted = {name: value for name, value in filters.items() if value is not None}
    found = [
        job
        for job in store.jobs.values()
        if all(job[name] == value for name, value in wanted.items())
    ]
    return sorted(found, key=lambda job: job["id"])


def count_by(column: str) -> Callable[..., list[Row]]:
    """Return what counts the jobs of each value of a column, in all and by status."""

    def count(store: Store, **filters: Any) -> list[Row]:
        counts: dict[str, dict[str, int]] = {}
        for job in matching(store, **filters):
            if job[column] is not None:
                of_name = counts.setdefault(job[column], {})
                of_name[job["status"]] = of_name.get(job["status"], 0) + 1
        return [
            (
                name,
                sum(counts[name].values()),
                *(counts[name].get(status, 0) for status in COUNTED),
            )
            for name in sorted(counts)
        ]

    return count


def stalled(
    store: Store,
    *,
    older_than: datetime.timedelta,
    queue_name: str | None,
    task_name: str | None,
) -> list[JobRow]:
    """Return the jobs in doing whose worker is gone or has not beaten for so long."""
    return [
        job
        for job in matching(store, status="doing", queue_name=queue_name, task_name=task_name)
        if store.is_stalled(job, older_than)
    ]


def long_running(
    store: Store,
    *,
    older_than: datetime.timedelta,
    queue_name: str | None,
    task_name: str | None,
) -> list[JobRow]:
    """Return the jobs that have been in doing for so long."""
    oldest = store.clock() - older_than
    return [
        job
        for job in matching(store, status="doing", queue_name=queue_name, task_name=task_name)
        if (claim := store.claims.get(job["id"])) is not None and claim.started_at < oldest
    ]


def to_abort(store: Store, **filters: Any) -> list[int]:
    """Return the ids of the jobs in doing that are asked to abort."""
    return [
        job["id"]
        for job in matching(store, status="doing", **filters)
        if job["abort_requested"]
    ]


def held_by(store: Store, worker_id: int) -> Sequence[Row]:
    """Return the claims of a worker: job, claim, whether it is asked to abort."""
    return [
        (job["id"], store.claims[job["id"]].claim_id, job["abort_requested"])
        for job in matching(store, status="doing", worker_id=worker_id)
        if job["id"] in store.claims
    ]
