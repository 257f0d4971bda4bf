"""From one status to another: what the functions on jobs do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from procrastinate.connectors.memory import refusals, wishes
from procrastinate.connectors.memory.store import Claim, JobRow, Store, in_order

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from procrastinate import jobs

# Ticks of a periodic task that are remembered besides the newest: as many as in the database.
KEPT_TICKS = 1000


def job_row(
    queue_name: str,
    task_name: str,
    priority: int | None,
    lock: str | None,
    queueing_lock: str | None,
    args: Any,
    scheduled_at: datetime.datetime | None,
) -> JobRow:
    """Make the row of a new job; refuse names and arguments that it can't have."""
    refusals.check_text(queue_name, "queue name")
    refusals.check_text(task_name, "task name")
    refusals.check_args(args)
    return {
        "id": None,
        "queue_name": queue_name,
        "task_name": task_name,
        "priority": 0 if priority is None else priority,
        "lock": lock,
        "queueing_lock": queueing_lock,
        # A dictionary of its own, as each run gets; what it holds is shared.
        "args": dict(args),
        "status": "todo",
        "scheduled_at": scheduled_at,
        "attempts": 0,
        "abort_requested": False,
        "worker_id": None,
    }


def defer(store: Store, rows: Sequence[JobRow]) -> list[int]:
    """Nothing -> todo for all of these jobs, or none."""
    keys: set[str] = set()
    for key in sorted(key for row in rows if (key := _key_of(row)) is not None):
        if key in keys or store.active_with_key(key):
            refusals.refuse_key(key)
        keys.add(key)
    taken: set[str] = set()
    # Of several that are taken the first by name is told, as the trigger meets them.
    for queueing_lock in sorted(
        row["queueing_lock"] for row in rows if row["queueing_lock"] is not None
    ):
        if queueing_lock in taken or store.waiting_with(queueing_lock):
            refusals.refuse_taken(queueing_lock)
        taken.add(queueing_lock)
    ids = [store.insert(row) for row in rows]
    _announce(store, ids)
    return ids


def try_defer(store: Store, rows: Sequence[JobRow]) -> list[int | None]:
    """Nothing -> todo for each job whose queueing lock is free; None for the others."""
    ids = [
        None if store.waiting_with(row["queueing_lock"]) else store.insert(row) for row in rows
    ]
    _announce(store, [job_id for job_id in ids if job_id is not None])
    return ids


def try_defer_with_keys(store: Store, rows: Sequence[JobRow]) -> list[Tried]:
    """Nothing -> todo for each job whose key and queueing lock are free."""
    keys: set[str] = set()
    locks: set[str] = set()
    reasons: list[str | None] = []
    # Keys are given to the first that want them, before any queueing lock is looked at.
    for row in rows:
        key = _key_of(row)
        is_taken = key is not None and (key in keys or store.active_with_key(key) is not None)
        reasons.append("key" if is_taken else None)
        if key is not None:
            keys.add(key)
    for place, row in enumerate(rows):
        lock = row["queueing_lock"]
        if reasons[place] is None and lock is not None:
            if lock in locks or store.waiting_with(lock):
                reasons[place] = "queueing_lock"
            locks.add(lock)
    ids = [
        store.insert(row) if reason is None else None
        for row, reason in zip(rows, reasons, strict=True)
    ]
    _announce(store, [job_id for job_id in ids if job_id is not None])
    return [
        _tried(store, row, job_id, reason)
        for row, job_id, reason in zip(rows, ids, reasons, strict=True)
    ]


class Tried(NamedTuple):
    """What became of a job: its id, or what was taken, and by whom."""

    job_id: int | None
    conflict: str | None
    reason: str | None
    other_job_id: int | None


def _tried(store: Store, row: JobRow, job_id: int | None, reason: str | None) -> Tried:
    if reason is None:
        return Tried(job_id, None, None, None)
    if reason == "key":
        conflict, other = _key_of(row), store.active_with_key(_key_of(row))
    else:
        conflict, other = row["queueing_lock"], store.waiting_with(row["queueing_lock"])
    return Tried(None, conflict, reason, None if other is None else other["id"])


def _key_of(row: JobRow) -> str | None:
    options: jobs.JobOptions | None = row.get("options")
    return None if options is None else options.key


def _announce(store: Store, ids: Sequence[int]) -> None:
    told: set[str] = set()
    for job_id in ids:
        queue_name = store.jobs[job_id]["queue_name"]
        if queue_name not in told:
            told.add(queue_name)
            store.news.announce(queue_name, "job_inserted", job_id)


def defer_periodic(
    store: Store, row: JobRow, *, periodic_id: str, timestamp: int
) -> int | None:
    """Nothing -> todo for one tick of a periodic task, once; None if the tick was taken."""
    key = (row["task_name"], periodic_id)
    newest = store.periodic_defers.get(key)
    # as the row of the newest tick has those before it: without the one, none of the others
    taken = [] if newest is None else [newest, *store.earlier_ticks.get(key, [])]
    if timestamp in taken or (len(taken) > KEPT_TICKS and timestamp < taken[-1]):
        return None
    (job_id,) = defer(store, [row])
    ticks = sorted([*taken, timestamp], reverse=True)
    store.periodic_defers[key] = ticks[0]
    store.earlier_ticks[key] = ticks[1 : KEPT_TICKS + 1]
    return job_id


def claim(
    store: Store, *, worker_id: int, queues: Sequence[str] | None, limit: int
) -> list[JobRow]:
    """Todo -> doing for a worker's next jobs: highest priority first, then lowest id."""
    now = store.clock()
    heads, held = store.heads(), store.held_locks()
    may_run = [
        job
        for job in store.jobs.values()
        if job["status"] == "todo"
        and (queues is None or job["queue_name"] in queues)
        and (job["scheduled_at"] is None or job["scheduled_at"] <= now)
        and (job["lock"] is None or (job["lock"] not in held and heads[job["lock"]] is job))
        and not store.is_paused(job["queue_name"])
    ]
    claimed = sorted(may_run, key=in_order)[:limit]
    for job in claimed:
        store.last_claim_id += 1
        store.change(job, status="doing", worker_id=worker_id)
        options = store.options_of(job)
        store.claims[job["id"]] = Claim(
            claim_id=store.last_claim_id,
            worker_id=worker_id,
            started_at=now,
            deadline_at=wishes.after(now, options.timeout),
            heartbeat_at=wishes.after(now, options.heartbeat),
        )
    return claimed


def next_due_in(store: Store, queues: Sequence[str] | None) -> float | None:
    """Return the seconds until something in these queues may run that may not run now."""
    now = store.clock()
    # Not where a lock is held: its release announces the next.
    heads, held = store.heads(), store.held_locks()
    moments = [
        job["scheduled_at"]
        for job in store.jobs.values()
        if job["status"] == "todo"
        and job["scheduled_at"] is not None
        and (queues is None or job["queue_name"] in queues)
        and ((line := store.line_of(job)) is None or (line not in held and heads[line] is job))
        and not store.is_paused(job["queue_name"])
        and job["scheduled_at"] > now
    ]
    moments += [
        pause.until
        for queue_name, pause in store.pauses.items()
        if pause.until is not None
        and pause.until > now
        and (queues is None or queue_name in queues)
    ]
    if not moments:
        return None
    due: datetime.datetime = min(moments)
    return (due - now).total_seconds()


def held(store: Store, *, worker_id: int, job_id: int, claim_id: int | None) -> JobRow | None:
    """Return a job in doing if that claim still holds it for that worker."""
    job = store.jobs.get(job_id)
    taken = store.claims.get(job_id)
    if job is None or taken is None or job["status"] != "doing":
        return None
    if taken.claim_id != claim_id:
        return None
    # A pruned worker's job has no worker: its claim counts.
    return job if job["worker_id"] in (None, worker_id) else None


def end(store: Store, job: JobRow, *, status: str, delete: bool | None) -> None:
    """Doing -> ended, or gone."""
    if delete:
        store.delete(job)
    else:
        store.change(job, status=status, attempts=job["attempts"] + 1, abort_requested=False)


def finish_by_id(store: Store, *, job_id: int, status: str, delete: bool) -> None:
    """Doing or todo -> ended, or gone, whoever holds the job."""
    if status not in refusals.END_STATUSES:
        refusals.refuse(
            f'End status should be either "succeeded", "failed" or "aborted" (job id: {job_id})'
        )
    job = store.jobs.get(job_id)
    if job is None or job["status"] not in ("todo", "doing"):
        refusals.refuse(
            f'Job was not found or not in "doing" or "todo" status (job id: {job_id})'
        )
    if delete:
        store.delete(job)
    else:
        counted = 1 if job["status"] == "doing" else 0
        store.change(
            job,
            status=status,
            attempts=job["attempts"] + counted,
            abort_requested=False,
        )


def put_back(
    store: Store,
    job: JobRow,
    *,
    counted: int,
    retry_at: datetime.datetime | None = None,
    priority: int | None = None,
    queue_name: str | None = None,
    lock: str | None = None,
) -> None:
    """
    Doing -> todo; failed where the job was asked to abort, or its queueing lock is taken.

    Nothing stays in doing because something is in the way.
    """
    moved: dict[str, Any] = {
        "priority": job["priority"] if priority is None else priority,
        "queue_name": job["queue_name"] if queue_name is None else queue_name,
        "lock": _lock_of(store, job, queue_name, lock),
    }
    refusals.check_column(queue_name)
    if job["abort_requested"]:
        store.change(job, status="failed", **moved)
    elif store.waiting_with(job["queueing_lock"]):
        store.change(
            job,
            status="failed",
            attempts=job["attempts"] + counted,
            error="Not put back: another job waits with the queueing lock "
            f"{job['queueing_lock']}",
        )
    else:
        store.change(
            job,
            status="todo",
            attempts=job["attempts"] + counted,
            scheduled_at=retry_at if counted else job["scheduled_at"],
            **moved,
        )


def _lock_of(store: Store, job: JobRow, queue_name: str | None, lock: str | None) -> str | None:
    """Return the lock of a job that moves: the one given, that of its group, or its own."""
    if lock is not None:
        return lock
    group_key = store.options_of(job).group_key
    return wishes.group_lock(queue_name, group_key) or job["lock"]


def retry_by_id(
    store: Store,
    *,
    job_id: int,
    retry_at: datetime.datetime | None,
    priority: int | None,
    queue_name: str | None,
    lock: str | None,
    statuses: Sequence[str] = ("doing", "failed"),
) -> bool:
    """Doing or failed -> todo by hand; False where the status does not allow it."""
    job = store.jobs.get(job_id)
    if job is None or job["status"] not in statuses:
        return False
    if job["status"] == "doing":
        put_back(
            store,
            job,
            counted=1,
            retry_at=retry_at,
            priority=priority,
            queue_name=queue_name,
            lock=lock,
        )
        return True
    refusals.check_column(queue_name)
    key = store.options_of(job).key
    if key is not None and store.active_with_key(key):
        refusals.refuse_key(key)
    if store.waiting_with(job["queueing_lock"]):
        refusals.refuse_taken(job["queueing_lock"])
    store.change(
        job,
        status="todo",
        attempts=job["attempts"] + 1,
        abort_requested=False,
        scheduled_at=retry_at,
        priority=job["priority"] if priority is None else priority,
        queue_name=job["queue_name"] if queue_name is None else queue_name,
        lock=_lock_of(store, job, queue_name, lock),
    )
    return True


def cancel(store: Store, *, job_id: int, abort: bool, delete: bool) -> int | None:
    """Todo -> cancelled, or gone; doing: abort asked. None where neither applies."""
    job = store.jobs.get(job_id)
    if job is None or job["status"] not in ("todo", "doing"):
        return None
    if job["status"] == "doing":
        if not abort:
            return None
        store.change(job, abort_requested=True)
    elif delete:
        store.delete(job)
    elif abort:
        store.change(job, status="cancelled", abort_requested=True)
    else:
        store.change(job, status="cancelled")
    return job_id


def reschedule(store: Store, *, job_id: int, scheduled_at: datetime.datetime | None) -> bool:
    """Give a waiting job another time; False if it does not wait."""
    refusals.check_job(store.jobs, job_id)
    job = store.jobs[job_id]
    if job["status"] != "todo":
        return False
    store.change(job, scheduled_at=scheduled_at)
    return True
