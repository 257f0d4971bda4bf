"""What is done to many jobs in one call: by filters, by task, by age."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from procrastinate import exceptions
from procrastinate.connectors.memory import refusals, transitions, upkeep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from procrastinate.connectors.memory.store import JobRow, Store
    from procrastinate.rpc.call import Rows

NONE = datetime.timedelta()

#: Events that tell no change of status: when a job was to run, and that it was asked to abort.
NO_CHANGE = ("scheduled", "abort_requested")


def _find(
    store: Store,
    *,
    statuses: Sequence[str],
    older_than: datetime.timedelta | None,
    newer_than: datetime.timedelta | None,
    job_ids: Sequence[int] | None,
    all_jobs: bool | None,
    after_id: int | None,
    max_jobs: int | None,
    **equal: str | None,
) -> list[JobRow]:
    """Return the next jobs by id that pass all filters; None filters nothing."""
    if (max_jobs or 0) < 1 or after_id is None:
        raise exceptions.InvalidArgument(
            "Changing many jobs needs a number of jobs and where to begin"
        )
    narrowing = (*equal.values(), older_than, newer_than, job_ids)
    if not all_jobs and all(value is None for value in narrowing):
        raise exceptions.InvalidArgument("Changing many jobs needs a filter")
    now = store.clock()

    def passes(job: JobRow) -> bool:
        since = _since(store, job)
        return (
            job["id"] > after_id
            and (job_ids is None or job["id"] in job_ids)
            and all(value is None or job[name] == value for name, value in equal.items())
            and (older_than is None or since is None or since < now - older_than)
            and (newer_than is None or (since is not None and since >= now - newer_than))
        )

    return [job for job in store.with_status(*statuses) if passes(job)][:max_jobs]


def _since(store: Store, job: JobRow) -> datetime.datetime | None:
    """Return when a job got its present status; None for a job without history."""
    moments: list[datetime.datetime] = [
        event["at"]
        for event in store.events.get(job["id"], [])
        if event["type"] not in NO_CHANGE
    ]
    return max(moments, default=None)


def retry_jobs(
    store: Store,
    *,
    status: str | None,
    retry_at: datetime.datetime | None,
    dry_run: bool | None,
    **filters: Any,
) -> Rows:
    """Failed or doing -> todo for the jobs that pass the filters; an outcome for each."""
    wanted = refusals.plain_status(status or "failed")
    if wanted not in ("failed", "doing"):
        raise exceptions.InvalidArgument("Only failed jobs, and those in doing, can be retried")
    found = _find(store, statuses=[wanted], **filters)
    if dry_run:
        return [(job["id"], "matched") for job in found]
    return [(job["id"], _retry(store, job, retry_at or store.clock())) for job in found]


def _retry(store: Store, job: JobRow, retry_at: datetime.datetime) -> str:
    if job["status"] == "failed":
        if store.waiting_with(job["queueing_lock"]):
            return "queueing_lock_taken"
        if store.active_with_key(store.options_of(job).key):
            return "key_taken"
    transitions.retry_by_id(
        store,
        job_id=job["id"],
        retry_at=retry_at,
        priority=None,
        queue_name=None,
        lock=None,
    )
    return "failed" if job["status"] == "failed" else "retried"


def cancel_jobs(
    store: Store,
    *,
    status: str | None,
    abort: bool | None,
    delete_jobs: bool | None,
    dry_run: bool | None,
    **filters: Any,
) -> Rows:
    """Todo -> cancelled, doing: abort asked, for the jobs that pass; an outcome for each."""
    if status is not None:
        statuses = [refusals.plain_status(status)]
    else:
        statuses = ["todo", "doing"] if abort else ["todo"]
    if not {*statuses} <= ({"todo", "doing"} if abort else {"todo"}):
        raise exceptions.InvalidArgument(
            "Only waiting jobs can be cancelled, and running ones asked to abort"
        )
    found = _find(store, statuses=statuses, **filters)
    if dry_run:
        return [(job["id"], "matched") for job in found]
    rows: list[tuple[int, str]] = []
    for job in found:
        was_waiting = job["status"] == "todo"
        transitions.cancel(store, job_id=job["id"], abort=bool(abort), delete=bool(delete_jobs))
        done = "deleted" if delete_jobs else "cancelled"
        rows.append((job["id"], done if was_waiting else "abort_requested"))
    return rows


def recover_jobs(
    store: Store,
    *,
    p_older_than: datetime.timedelta | None,
    p_task_names: Sequence[str],
    p_max_attempts: Sequence[int | None],
    p_max_jobs: int | None,
) -> Rows:
    """Doing -> todo or failed for stalled jobs of these tasks; an outcome for each."""
    if p_older_than is None or p_older_than < NONE or (p_max_jobs or 0) < 1:
        raise exceptions.InvalidArgument("Recovering needs an age and a number of jobs")
    most = dict(zip(p_task_names, p_max_attempts, strict=True))
    stalled = [
        job
        for job in store.with_status("doing")
        if job["task_name"] in most and store.is_stalled(job, p_older_than)
    ]
    rows: list[tuple[int, str, str]] = []
    for job in stalled[:p_max_jobs]:
        limit = most[job["task_name"]]
        if limit is None or job["attempts"] < limit:
            transitions.put_back(store, job, counted=1)
        else:
            transitions.end(store, job, status="failed", delete=False)
        store.events[job["id"]][-1].setdefault("error", "Its worker was gone or silent")
        outcome = "retried" if job["status"] == "todo" else job["status"]
        rows.append((job["id"], outcome, job["status"]))
    return rows


def retire_jobs(
    store: Store,
    *,
    p_older_than: datetime.timedelta | None,
    p_after_id: int | None,
    p_max_jobs: int | None,
) -> Rows:
    """Delete what ended long ago among the next jobs by id; how many, and where to go on."""
    if (
        p_older_than is None
        or p_older_than < NONE
        or p_after_id is None
        or (p_max_jobs or 0) < 1
    ):
        raise exceptions.InvalidArgument(
            "Retention needs an age, where to begin and a number of jobs"
        )
    seen = sorted(job_id for job_id in store.jobs if job_id > p_after_id)[:p_max_jobs]
    last = seen[-1] if len(seen) == p_max_jobs else None
    before = store.clock() - p_older_than
    if last is not None and any(
        event["type"] == "deferred" and event["at"] >= before
        for event in store.events.get(last, [])
    ):
        last = None  # It was deferred too lately to have ended long ago, as all after it.
    old = [
        job
        for job in map(store.jobs.__getitem__, seen)
        if job["status"] not in ("todo", "doing")
        and upkeep.last_event_is_older(store, job, p_older_than)
    ]
    for job in old:
        store.delete(job)
    return [(len(old), last)]
