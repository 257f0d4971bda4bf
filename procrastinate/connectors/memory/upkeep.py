"""What is done now and then for all: workers that are gone, old jobs, paused queues."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from procrastinate import exceptions
from procrastinate.connectors.memory import refusals, results, transitions
from procrastinate.connectors.memory.store import JobRow, Pause, Store, WorkerFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NONE = datetime.timedelta()


def register(store: Store, *, name: str | None, queues: Sequence[str] | None) -> int:
    """Write the row of a new worker; return its id."""
    store.last_worker_id += 1
    worker_id = store.last_worker_id
    store.workers[worker_id] = store.clock()
    store.worker_facts[worker_id] = WorkerFacts(
        name=name, queues=None if queues is None else list(queues)
    )
    return worker_id


def prune(store: Store, older_than: datetime.timedelta | None) -> list[int]:
    """Remove the workers whose heartbeat is older; return their ids."""
    if older_than is None or older_than < NONE:
        raise exceptions.InvalidArgument(
            f"The age of a stalled worker is {refusals.interval_text(older_than)}"
        )
    oldest = store.clock() - older_than
    return store.remove_workers(
        [worker_id for worker_id, beat in store.workers.items() if beat < oldest]
    )


def recover(
    store: Store, *, older_than: datetime.timedelta | None, max_jobs: int | None
) -> list[int]:
    """Doing -> todo for jobs whose worker is gone or silent; return their ids."""
    if older_than is None or older_than < NONE or (max_jobs or 0) < 1:
        raise exceptions.InvalidArgument("Recovering needs an age and a number of jobs")
    stalled = [job for job in store.with_status("doing") if store.is_stalled(job, older_than)]
    recovered = stalled[:max_jobs]
    for job in recovered:
        transitions.put_back(store, job, counted=1)
    return [job["id"] for job in recovered]


def purge(
    store: Store,
    *,
    older_than: datetime.timedelta | None,
    queue_name: str | None,
    statuses: Sequence[str] | None,
    max_jobs: int | None,
) -> int:
    """Delete finished jobs whose last event is older, lowest ids first; return how many."""
    negative = older_than is not None and older_than < datetime.timedelta()
    if older_than is None or negative or not statuses or (max_jobs or 0) < 1:
        raise exceptions.InvalidArgument("A purge needs an age, a status and a number of jobs")
    if "todo" in statuses or "doing" in statuses:
        raise exceptions.InvalidArgument("Only finished jobs can be purged")
    old = [
        job
        for job in store.with_status(*statuses)
        if (queue_name is None or job["queue_name"] == queue_name)
        and last_event_is_older(store, job, older_than) is not False
    ]
    for job in old[:max_jobs]:
        store.delete(job)
    return min(len(old), max_jobs or 0)


def delete_old(
    store: Store,
    *,
    job_ids: Iterable[int],
    older_than: datetime.timedelta,
    queue_name: str | None,
    statuses: Sequence[str],
) -> int:
    """Delete those of these jobs that have such a status and whose last event is older."""
    old = [
        job
        for job in map(store.jobs.__getitem__, job_ids)
        if job["status"] in statuses
        and (queue_name is None or job["queue_name"] == queue_name)
        and last_event_is_older(store, job, older_than)
    ]
    for job in old:
        store.delete(job)
    return len(old)


def last_event_is_older(
    store: Store, job: JobRow, older_than: datetime.timedelta
) -> bool | None:
    """Whether a job's last event is older; None if it has none."""
    moments = [event["at"] for event in store.events.get(job["id"], [])]
    return max(moments) < store.clock() - older_than if moments else None


def pause(
    store: Store, *, queue_name: str, reason: str | None, until: datetime.datetime | None
) -> None:
    """Let nobody fetch from a queue, for ever or until then."""
    refusals.check_text(queue_name, "queue name")
    store.pauses[queue_name] = Pause(paused_at=store.clock(), reason=reason, until=until)


def resume(store: Store, *, queue_name: str) -> None:
    """End the pause of a queue, and wake its workers."""
    refusals.check_text(queue_name, "queue name")
    if store.pauses.pop(queue_name, None):
        store.news.announce(queue_name, "job_inserted", 0)


def beat(store: Store, worker_id: int) -> bool:
    """Note that a worker lives; False if it is not registered."""
    if worker_id not in store.workers:
        return False
    store.workers[worker_id] = store.clock()
    return True


def sweep(store: Store, max_jobs: int | None) -> None:
    """Delete results past their time: nothing else is left behind here."""
    if (max_jobs or 0) < 1:
        raise exceptions.InvalidArgument(
            f"The number of jobs to sweep is {'null' if max_jobs is None else max_jobs}"
        )
    results.purge(store, max_jobs or 0)
