"""What the calls return: plain values, one class for each kind of answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping, Sequence

    from procrastinate import jobs, types


class ClaimedJob(NamedTuple):
    """A job that is in doing under this worker, and the number that proves it."""

    job: jobs.Job
    claim_id: int
    """Goes with the report of its end: another claim's end changes nothing."""


@attrs.frozen(kw_only=True)
class EndNotHeld:
    """A reported end that changed nothing: the claim was not this worker's any more."""

    job_id: int
    claim_id: int | None
    status: str | None
    """What the job is now; None if it is gone."""


@attrs.frozen(kw_only=True)
class Exchange:
    """The answer of a fetch, or of a report and a fetch in one."""

    claimed: list[ClaimedJob]
    """Highest priority first, then lowest id."""
    not_held: list[EndNotHeld]
    too_large: list[int]
    """Jobs that failed at their end, whose result is more than the database keeps."""
    next_due_in: float | None
    """Seconds until the next delayed job of these queues falls due; None if there is none."""
    contended: bool
    """Ready jobs remained that another transaction held just then: come back in a moment."""
    more: bool
    """The call stopped at its own bound with work left: call again at once."""
    marks: list[int] | None
    """Opaque: goes with the next fetch of this worker and these queues."""


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of one job of many."""

    job_id: int
    outcome: str
    """finished, retried, failed, released or not_held."""
    status: str | None
    """What the job is now; None if it is gone."""


@attrs.frozen(kw_only=True)
class HeldJob:
    """A job that the database has in doing under a worker."""

    job_id: int
    claim_id: int
    abort_requested: bool


@attrs.frozen(kw_only=True)
class Writer:
    """A transaction that may have written jobs which nobody sees yet."""

    pid: int | None
    """None: it was prepared, and waits to be committed."""
    virtual_transaction: str


@attrs.frozen(kw_only=True)
class Sweep:
    """What a sweep found and put right."""

    promoted: int
    """Heads of locks that stood parked without a holder."""
    unlinked: int
    """Finished jobs that still named a worker who is gone."""


@attrs.frozen(kw_only=True)
class TriedDefer:
    """One job of a defer of many: its id, or what stood in its way."""

    ordinal: int
    """Its place in the list given, from 1."""
    job_id: int | None
    conflict: str | None
    """The queueing lock that another waiting job has, or the key that another job has."""
    reason: str | None = None
    """Which of them: queueing_lock or key."""
    other_job_id: int | None = None
    """Who has it."""


@attrs.frozen(kw_only=True)
class ErrorRecord:
    """What a run raised."""

    cls: str
    """The exception's class, with its module: builtins.ValueError."""
    message: str
    traceback: str | None
    attempt: int | None
    """Which run it was, from 1."""

    def as_json(self) -> types.JSONDict:
        """Return it as the database stores it."""
        return {
            "class": self.cls,
            "message": self.message,
            "traceback": self.traceback,
            "attempt": self.attempt,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> ErrorRecord:
        """Make one of what the database has, whoever wrote it: what is missing is None."""
        return cls(
            cls=stored.get("class") or "",
            message=stored.get("message") or "",
            traceback=stored.get("traceback"),
            attempt=stored.get("attempt"),
        )


@attrs.frozen(kw_only=True)
class JobReport:
    """How far a job is, and what came of it."""

    job_id: int
    status: str
    """What the job is; if it is gone, what it was at last."""
    attempts: int | None
    """Runs that have ended; None if the job is gone."""
    keeps: bool
    """Whether the job has a ttl: what it returns is stored."""
    stored: bool
    """Whether that is there now: it may be null."""
    result: Any
    error: ErrorRecord | None
    """What its last failed run raised."""
    progress: float | None
    """From 0.0 to 1.0; None if the task said nothing."""
    meta: Any
    updated_at: datetime.datetime | None
    expires_at: datetime.datetime | None
    """When the result will be gone; None: never, or there is none."""


@attrs.frozen(kw_only=True)
class Watch:
    """Where the end of a job will be told, and what it is now."""

    channel: str
    status: str
    over: bool
    """The job has ended: there is nothing to wait for."""


@attrs.frozen(kw_only=True)
class Filters:
    """Which jobs a call for many is about: those that pass all. None filters nothing."""

    queue_name: str | None = None
    task_name: str | None = None
    status: str | None = None
    lock: str | None = None
    queueing_lock: str | None = None
    older_than: datetime.timedelta | None = None
    """Got their status longer ago."""
    newer_than: datetime.timedelta | None = None
    """Got their status at most so long ago."""
    job_ids: Sequence[int] | None = None
    all_jobs: bool = False
    """To be said if nothing else narrows it."""

    @property
    def narrows(self) -> bool:
        """Whether the database accepts it: the status alone is no filter."""
        return self.all_jobs or any(
            value is not None
            for name, value in self.arguments().items()
            if name not in {"status", "all_jobs"}
        )

    def arguments(self) -> dict[str, Any]:
        """Return them by the names that SQL has for them."""
        return attrs.asdict(self, recurse=False)


@attrs.frozen(kw_only=True)
class Retired:
    """What one step of retention did."""

    retired: int
    """Jobs deleted."""
    next_id: int | None
    """Where to go on; None if the pass is over."""


@attrs.frozen(kw_only=True)
class Deleted:
    """What one step of a deletion by age did."""

    deleted: int
    """Jobs deleted."""
    next_id: int | None
    """Where to go on; None if there is nothing left to look at."""


@attrs.frozen(kw_only=True)
class Gate:
    """One of the things that a job waits for, or has passed."""

    gate: str
    is_open: bool
    detail: str | None


@attrs.frozen(kw_only=True)
class Breach:
    """A derived row that is not what the jobs say."""

    breach: str
    job_id: int | None
    detail: Any


@attrs.frozen(kw_only=True)
class Role:
    """A role of the database, and what it may do: producer, worker, operator or auditor."""

    name: str
    part: str
    is_new: bool


@attrs.frozen(kw_only=True)
class JobCount:
    """How many jobs there are of one name, and of each status."""

    name: str
    jobs_count: int
    todo: int
    doing: int
    succeeded: int
    failed: int
    cancelled: int
    aborted: int

    def asdict(self) -> dict[str, Any]:
        """Return it as 3.x did."""
        return attrs.asdict(self)
