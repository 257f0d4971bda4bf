"""What the database in memory holds, and the one place where a job changes."""

from __future__ import annotations

import datetime
import itertools
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from procrastinate import jobs as jobs_module
from procrastinate import utils
from procrastinate.connectors.memory import listeners

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

JobRow: TypeAlias = dict[str, Any]
EventRow: TypeAlias = dict[str, Any]

#: The event that each change of status leaves. As the trigger has it: a job that ends before it
#: ran was cancelled, whatever its status says, and one aborted before it ran leaves none.
EVENT_OF = {
    ("todo", "doing"): "started",
    ("todo", "succeeded"): "cancelled",
    ("todo", "failed"): "cancelled",
    ("todo", "cancelled"): "cancelled",
    ("doing", "todo"): "deferred_for_retry",
    ("doing", "succeeded"): "succeeded",
    ("doing", "failed"): "failed",
    ("doing", "aborted"): "aborted",
    ("failed", "todo"): "retried",
}


NO_OPTIONS = jobs_module.JobOptions()


def _utcnow() -> datetime.datetime:
    # Looked up at each call: tests patch it.
    return utils.utcnow()


def _from_one() -> Iterator[int]:
    return itertools.count(1)


@attrs.frozen(kw_only=True)
class Claim:
    """A job in doing: who runs it, since when, and the number that fences its end."""

    claim_id: int
    worker_id: int
    started_at: datetime.datetime
    deadline_at: datetime.datetime | None = None
    heartbeat_at: datetime.datetime | None = None
    """When it must have been touched again."""

    def missed(self, now: datetime.datetime) -> str | None:
        """Return what has passed, heartbeat or timeout."""
        if self.heartbeat_at is not None and self.heartbeat_at < now:
            return "heartbeat"
        if self.deadline_at is not None and self.deadline_at < now:
            return "timeout"
        return None


@attrs.define(kw_only=True)
class Result:
    """What a job leaves besides its status."""

    result: Any = None
    error: Mapping[str, Any] | None = None
    progress: float | None = None
    meta: Mapping[str, Any] | None = None
    updated_at: datetime.datetime
    expires_at: datetime.datetime | None = None
    status: str | None = None
    """How the job ended; None if nothing of its end was stored."""


@attrs.frozen(kw_only=True)
class Pause:
    """Why nobody fetches from a queue."""

    paused_at: datetime.datetime
    reason: str | None
    until: datetime.datetime | None


@attrs.frozen(kw_only=True)
class WorkerFacts:
    """What a worker says of itself when it registers."""

    name: str | None
    queues: list[str] | None


@attrs.define(eq=False)
class Store:
    """
    The tables.

    What waits and what holds a lock is read from the jobs each time: a test may change them by
    hand.
    """

    jobs: dict[int, JobRow] = attrs.field(factory=dict[int, JobRow])
    events: dict[int, list[EventRow]] = attrs.field(factory=dict[int, list[EventRow]])
    workers: dict[int, datetime.datetime] = attrs.field(factory=dict[int, datetime.datetime])
    """The last heartbeat of each."""
    worker_facts: dict[int, WorkerFacts] = attrs.field(factory=dict[int, WorkerFacts])
    claims: dict[int, Claim] = attrs.field(factory=dict[int, Claim])
    """By the id of the job. A job that a test has put in doing by hand has none."""
    options: dict[int, jobs_module.JobOptions] = attrs.field(
        factory=dict[int, jobs_module.JobOptions]
    )
    """By the id of the job; of those that have any."""
    results: dict[int, Result] = attrs.field(factory=dict[int, Result])
    """By the id of the job, which may be gone."""
    pauses: dict[str, Pause] = attrs.field(factory=dict[str, Pause])
    periodic_defers: dict[tuple[str, str], int] = attrs.field(
        factory=dict[tuple[str, str], int]
    )
    """The newest tick of each task and periodic id."""
    earlier_ticks: dict[tuple[str, str], list[int]] = attrs.field(
        factory=dict[tuple[str, str], list[int]]
    )
    """The ticks before it that were deferred, the newest first."""
    clock: Callable[[], datetime.datetime] = _utcnow
    job_ids: Iterator[int] = attrs.field(factory=_from_one)
    last_worker_id: int = 0
    last_claim_id: int = 0
    news: listeners.News = attrs.field(factory=listeners.News)

    def empty(self) -> None:
        """Forget everything but the clock and who listens; ids start at 1 again."""
        for table in (
            self.jobs,
            self.events,
            self.workers,
            self.worker_facts,
            self.claims,
            self.options,
            self.results,
            self.pauses,
            self.periodic_defers,
            self.earlier_ticks,
        ):
            table.clear()
        self.job_ids = _from_one()
        self.last_worker_id = self.last_claim_id = 0

    def with_status(self, *statuses: str) -> list[JobRow]:
        """Return the jobs that have one of these statuses, by id."""
        found = [job for job in self.jobs.values() if job["status"] in statuses]
        return sorted(found, key=lambda job: job["id"])

    def waiting_with(self, queueing_lock: str | None) -> JobRow | None:
        """Return the waiting job that has a queueing lock."""
        if queueing_lock is None:
            return None
        for job in self.jobs.values():
            if job["status"] == "todo" and job["queueing_lock"] == queueing_lock:
                return job
        return None

    def active_with_key(self, key: str | None) -> JobRow | None:
        """Return the job that waits or runs with a key."""
        if key is None:
            return None
        for job_id, options in self.options.items():
            job = self.jobs[job_id]
            if options.key == key and job["status"] in ("todo", "doing"):
                return job
        return None

    def options_of(self, job: JobRow) -> jobs_module.JobOptions:
        """Return the options of a job that may have none."""
        return self.options.get(job["id"], NO_OPTIONS)

    def line_of(self, job: JobRow) -> str | None:
        """Return the lock in whose line a job waits: a group's job is in none while delayed."""
        due = job["scheduled_at"]
        is_of_group = self.options_of(job).group_key is not None
        return None if is_of_group and due is not None and due > self.clock() else job["lock"]

    def heads(self) -> dict[str, JobRow]:
        """Return the first waiting job of each lock, due or not, whatever its queue."""
        heads: dict[str, JobRow] = {}
        for job in self.jobs.values():
            if job["status"] != "todo" or (lock := self.line_of(job)) is None:
                continue
            if lock not in heads or in_order(job) < in_order(heads[lock]):
                heads[lock] = job
        return heads

    def held_locks(self) -> set[str]:
        """Return the locks of the jobs in doing."""
        return {
            job["lock"]
            for job in self.jobs.values()
            if job["status"] == "doing" and job["lock"] is not None
        }

    def is_paused(self, queue_name: str) -> bool:
        """Whether nobody may fetch from a queue now."""
        pause = self.pauses.get(queue_name)
        return pause is not None and (pause.until is None or pause.until > self.clock())

    def insert(self, job: JobRow) -> int:
        """Write a new job in todo, and its ``options`` elsewhere; return its id."""
        job = {**job}
        options: jobs_module.JobOptions | None = job.pop("options", None)
        job_id = next(self.job_ids)
        if options is not None:
            self._insert_options(job_id, options)
        self.jobs[job_id] = {
            **job,
            "id": job_id,
            "status": "todo",
            "attempts": 0,
            "abort_requested": False,
            "worker_id": None,
        }
        self.events[job_id] = []
        if job["scheduled_at"] is not None:
            self.tell(job_id, "scheduled", at=job["scheduled_at"])
        self.tell(job_id, "deferred")
        return job_id

    def _insert_options(self, job_id: int, options: jobs_module.JobOptions) -> None:
        if options.meta is not None:
            self.results[job_id] = Result(meta=options.meta, updated_at=self.clock())
        of_job = attrs.evolve(options, meta=None)
        if of_job != NO_OPTIONS:
            self.options[job_id] = of_job

    def tell(
        self,
        job_id: int,
        event: str,
        *,
        at: datetime.datetime | None = None,
        error: str | None = None,
    ) -> None:
        """Write a line of a job's history."""
        row: EventRow = {"type": event, "at": at or self.clock()}
        if error is not None:
            row["error"] = error
        self.events.setdefault(job_id, []).append(row)

    def change(self, job: JobRow, *, error: str | None = None, **values: Any) -> None:
        """
        Change a job: what the trigger does for an ``UPDATE``.

        The history is written, the queue is told where something may run now, and a lock that
        becomes free tells the queue of its next job.
        """
        job_id, before = job["id"], dict(job)
        job.update(values)
        if job["abort_requested"] and not before["abort_requested"]:
            self.tell(job_id, "abort_requested")
            if job["status"] == "doing":
                self.news.announce(job["queue_name"], "abort_job_requested", job_id)
        if job["status"] == "todo" and job["scheduled_at"] is not None:
            self.tell(job_id, "scheduled", at=job["scheduled_at"])
        if event := EVENT_OF.get((before["status"], job["status"])):
            self.tell(job_id, event, error=error)
        if job["status"] == "todo":
            self.news.announce(job["queue_name"], "job_inserted", job_id)
        if job["status"] != "doing":
            self.claims.pop(job_id, None)
        if before["status"] in ("todo", "doing") and job["status"] != "doing":
            self.announce_heads(before["lock"])

    def set_status(self, *, job_id: int, status: str) -> None:
        """Change the status of a job and nothing else."""
        self.change(self.jobs[job_id], status=status)

    def delete(self, job: JobRow) -> None:
        """Delete a job, its history, and its result unless that is to be kept."""
        job_id = job["id"]
        self.jobs.pop(job_id, None)
        options = self.options.pop(job_id, NO_OPTIONS)
        left = self.results.get(job_id)
        if left is not None and (left.status is None or not options.keep_result):
            del self.results[job_id]
        self.events.pop(job_id, None)
        self.claims.pop(job_id, None)
        if job["status"] in ("todo", "doing"):
            self.announce_heads(job["lock"])

    def announce_heads(self, lock: str | None) -> None:
        """Tell the queue of a lock's next job, if nobody holds the lock."""
        if lock is None:
            return
        waiting: list[JobRow] = []
        for job in self.jobs.values():
            if job["lock"] != lock:
                continue
            if job["status"] == "doing":
                return
            if job["status"] == "todo" and self.line_of(job) is not None:
                waiting.append(job)
        if waiting:
            head = min(waiting, key=in_order)
            self.news.announce(head["queue_name"], "job_inserted", head["id"])

    def remove_workers(self, worker_ids: Iterable[int]) -> list[int]:
        """Delete workers, and their ids from all jobs; return which were there."""
        gone = sorted({worker_id for worker_id in worker_ids if worker_id in self.workers})
        for worker_id in gone:
            del self.workers[worker_id]
            self.worker_facts.pop(worker_id, None)
        for job in self.jobs.values():
            if job["worker_id"] in gone:
                job["worker_id"] = None
        return gone

    def is_stalled(self, job: JobRow, older_than: datetime.timedelta) -> bool:
        """Whether a job in doing has no worker that beat lately."""
        last_heartbeat = self.workers.get(job["worker_id"])
        return last_heartbeat is None or last_heartbeat < self.clock() - older_than


def in_order(job: JobRow) -> tuple[int, int]:
    """Where a job stands in line: highest priority first, then lowest id."""
    return -job["priority"], job["id"]
