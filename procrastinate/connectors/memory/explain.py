"""Why a job does not run: each gate that it waits for or has passed."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from procrastinate.connectors.memory import refusals
from procrastinate.connectors.memory.store import JobRow, Store, in_order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from procrastinate.rpc.call import Row

#: Three heartbeats of a worker: two may be lost.
ALIVE = datetime.timedelta(seconds=30)


def explain(store: Store, *, job_id: int) -> Iterator[Row]:
    """Yield gate, whether it is open, and the values that say so."""
    refusals.check_job(store.jobs, job_id)
    job = store.jobs[job_id]
    yield "status", job["status"] == "todo", describe(job)
    if job["status"] == "doing":
        yield _worker(store, job)
    elif job["status"] == "todo":
        yield _schedule(store, job)
        yield _lock(store, job)
        yield _queue(store, job)
        yield _ahead(store, job)
        yield _workers(store, job)
    else:
        for event in store.events.get(job_id, []):
            reason = f": {event['error']}" if "error" in event else ""
            yield "history", False, f"{event['type']} at {event['at']}{reason}"


def describe(job: JobRow) -> str:
    """Return a sentence on the present state of a job."""
    worker = "" if job["worker_id"] is None else f", worker {job['worker_id']}"
    return (
        f"Job {job['id']} ({job['task_name']} on queue {job['queue_name']}) is "
        f"{job['status']}, with {job['attempts']} attempts{worker}."
    )


def _worker(store: Store, job: JobRow) -> Row:
    worker_id = job["worker_id"]
    abort = " It was asked to abort." if job["abort_requested"] else ""
    beat = store.workers.get(worker_id)
    if beat is None:
        detail = (
            "Its worker is gone: procrastinate_recover_stalled_jobs gives the job to another."
        )
        return "worker", False, detail + abort
    facts = store.worker_facts.get(worker_id)
    name = f" ({facts.name})" if facts is not None and facts.name is not None else ""
    claim = store.claims.get(job["id"])
    since = f" since {claim.started_at}" if claim is not None else ""
    detail = f"Worker {worker_id}{name} has run it{since}; its last heartbeat was at {beat}."
    return "worker", beat > store.clock() - ALIVE, detail + abort


def _schedule(store: Store, job: JobRow) -> Row:
    due = job["scheduled_at"]
    if due is None:
        return "schedule", True, "It may run at once."
    return "schedule", due <= store.clock(), f"It may run from {due} on."


def _lock(store: Store, job: JobRow) -> Row:
    lock = job["lock"]
    if lock is None:
        return "lock", True, "It has no lock."
    for other in store.with_status("doing"):
        if other["lock"] == lock:
            claim = store.claims.get(other["id"])
            since = f" since {claim.started_at}" if claim is not None else ""
            return "lock", False, f"Job {other['id']} holds the lock {lock}{since}."
    head = store.heads().get(lock)
    if head is None:  # a delayed job of a group stands in no line
        return "lock", True, f"Nobody holds the lock {lock}, and no job comes first for it."
    if head is job:
        return "lock", True, f"It is the next of the lock {lock}."
    due = "" if head["scheduled_at"] is None else f", from {head['scheduled_at']}"
    return (
        "lock",
        False,
        f"Job {head['id']} of queue {head['queue_name']} comes first for the lock {lock}{due}.",
    )


def _queue(store: Store, job: JobRow) -> Row:
    queue_name = job["queue_name"]
    if not store.is_paused(queue_name):
        return "queue", True, f"Queue {queue_name} is not paused."
    pause = store.pauses[queue_name]
    until = "" if pause.until is None else f" until {pause.until}"
    reason = "" if pause.reason is None else f": {pause.reason}"
    detail = f"Queue {queue_name} is paused since {pause.paused_at}{until}{reason}."
    return "queue", False, detail


def _ahead(store: Store, job: JobRow) -> Row:
    now = store.clock()
    heads, held = store.heads(), store.held_locks()
    ahead = sum(
        1
        for other in store.with_status("todo")
        if other["queue_name"] == job["queue_name"]
        and (other["scheduled_at"] is None or other["scheduled_at"] <= now)
        and (
            other["lock"] is None
            or (other["lock"] not in held and heads.get(other["lock"]) is other)
        )
        and in_order(other) < in_order(job)
    )
    return (
        "ahead",
        ahead == 0,
        f"{ahead} jobs that may run come before it in queue {job['queue_name']}.",
    )


def _workers(store: Store, job: JobRow) -> Row:
    alive = store.clock() - ALIVE
    serving = 0
    for worker_id, beat in store.workers.items():
        facts = store.worker_facts.get(worker_id)
        queues = None if facts is None else facts.queues
        if beat > alive and (queues is None or job["queue_name"] in queues):
            serving += 1
    return "workers", serving > 0, f"{serving} live workers serve queue {job['queue_name']}."
