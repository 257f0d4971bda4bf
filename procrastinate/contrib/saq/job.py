"""SAQ's job: what a caller says of it, and what has become of it."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Any, Generic

import croniter

from procrastinate.contrib.saq import types
from procrastinate.contrib.saq.utils import exponential_backoff, now, seconds, uuid1

if TYPE_CHECKING:
    from procrastinate.contrib.saq.queue.base import Queue

ABORT_ID_PREFIX = "saq:abort:"


def get_default_job_key() -> str:
    """Return a key that no other job has."""
    return uuid1()


class Status(str, enum.Enum):  # noqa: UP042 (str() of one names the class)
    """How far a job is, in SAQ's words."""

    NEW = "new"
    """Made, and not yet enqueued."""
    QUEUED = "queued"
    """procrastinate's ``todo``: it waits, for a worker or for its time."""
    ACTIVE = "active"
    """procrastinate's ``doing``."""
    ABORTING = "aborting"
    """procrastinate's ``doing``, asked to abort."""
    ABORTED = "aborted"
    """procrastinate's ``aborted`` or ``cancelled``."""
    FAILED = "failed"
    """procrastinate's ``failed``."""
    COMPLETE = "complete"
    """procrastinate's ``succeeded``."""


ACTIVE_STATUSES = {Status.NEW, Status.QUEUED, Status.ACTIVE}
TERMINAL_STATUSES = {Status.COMPLETE, Status.FAILED, Status.ABORTED}
UNSUCCESSFUL_TERMINAL_STATUSES = TERMINAL_STATUSES - {Status.COMPLETE}


@dataclasses.dataclass
class CronJob(Generic[types.CtxType]):
    """
    A function that is run again and again, at the times of a cron expression.

    Parameters
    ----------
    function
        What runs; the worker need not list it among its functions.
    cron
        A cron expression; a sixth field is for seconds.
    unique
        Whether all workers together run it once a tick.
    timeout
        As of the job; None: the job's default.
    heartbeat
        As of the job; None: the job's default.
    retries
        As of the job; None: the job's default.
    ttl
        As of the job; None: the job's default.
    kwargs
        Arguments of the function.
    """

    function: types.Function[types.CtxType]
    cron: str
    unique: bool = True
    timeout: int | None = None
    heartbeat: int | None = None
    retries: int | None = None
    ttl: int | None = None
    kwargs: dict[str, Any] | None = None

    def check(self) -> None:
        """Refuse a cron expression that says no times."""
        if not croniter.croniter.is_valid(self.cron):
            raise ValueError(f"Cron is invalid {self.cron}")


@dataclasses.dataclass
class Job:
    """
    A run of a function, wanted or done. Times that are set are in seconds, those read in ms.

    Parameters
    ----------
    function
        Name of the function.
    kwargs
        Its arguments.
    queue
        The queue that the job is for.
    key
        What identifies the job: no two that wait or run have the same.
    timeout
        Seconds that it may run; 0: as long as it takes.
    heartbeat
        Seconds that may pass without an `update`; 0: any.
    retries
        How often it may be attempted in all.
    ttl
        Seconds that the result is kept; 0: for ever; -1: not at all.
    retry_delay
        Seconds between a failure and the next attempt.
    retry_backoff
        Whether that delay doubles with each failure, with jitter; a number is its cap, too.
    scheduled
        Seconds since the epoch before which it does not run.
    progress
        From 0.0 to 1.0.
    attempts
        How often it was attempted.
    completed
        When it ended.
    queued
        When it was enqueued.
    started
        When it began to run.
    touched
        When it was last known to be alive.
    result
        What the function returned.
    error
        The traceback of the last failure, or why it was aborted.
    status
        How far it is: a `Status`, or the value of one.
    priority
        Smaller ones run first.
    group_key
        No two jobs of a queue with the same one run at the same time.
    meta
        Whatever the caller wants to keep with it.
    worker_id
        The worker that has it, or had it last.

    Attributes
    ----------
    row_id
        The id of the job's row, once it has been enqueued.
    """

    function: str
    kwargs: dict[str, Any] | None = None
    queue: Queue | None = None
    key: str = dataclasses.field(default_factory=get_default_job_key)
    timeout: int = 10
    heartbeat: int = 0
    retries: int = 1
    ttl: int = 600
    retry_delay: float = 0.0
    retry_backoff: bool | float = False
    scheduled: int = 0
    progress: float = 0.0
    attempts: int = 0
    completed: int = 0
    queued: int = 0
    started: int = 0
    touched: int = 0
    result: Any = None
    error: str | None = None
    status: Status = Status.NEW
    priority: int = 0
    group_key: str | None = None
    meta: dict[Any, Any] = dataclasses.field(default_factory=dict)
    worker_id: str | None = None

    def __post_init__(self) -> None:
        given: Any = self.status  # callers hand in the value of a status, too
        if not isinstance(given, Status):
            self.status = Status[str(given).upper()]
        self.row_id: int | None = None

    def __repr__(self) -> str:
        return f"Job<{self.info(full=True)}>"

    def __str__(self) -> str:
        return repr(self)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self.key == other.key

    def info(self, full: bool = False) -> str:
        """
        Return the fields that are not as a new job's, for people to read.

        Parameters
        ----------
        full
            Whether the arguments and the result are among them.
        """
        hidden = () if full else ("kwargs", "result")
        shown = (
            f"{name}={value.value if isinstance(value, Status) else value}"
            for name, value in self.to_dict().items()
            if name not in hidden
        )
        return ", ".join(shown)

    @property
    def id(self) -> str:
        """The key, as the queue knows it."""
        return self.get_queue().job_id(self.key)

    @classmethod
    def key_from_id(cls, job_id: str) -> str:
        """Return the key of an id."""
        return job_id

    @property
    def abort_id(self) -> str:
        """The name that an abort of this job goes by."""
        return f"{ABORT_ID_PREFIX}{self.key}"

    @property
    def retryable(self) -> bool:
        """Whether another attempt is allowed."""
        return self.attempts < self.retries

    @property
    def stuck(self) -> bool:
        """Whether it runs, and is past its timeout or its heartbeat, by this machine's clock."""
        if self.status not in (Status.ACTIVE, Status.ABORTING):
            return False
        moment = now()
        return bool(
            (self.timeout and seconds(moment - self.started) > self.timeout)
            or (self.heartbeat and seconds(moment - self.touched) > self.heartbeat)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults; of the queue, the name."""
        fields: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            default: Any = {} if field.name == "meta" else field.default
            if value == default:
                continue
            fields[field.name] = value.name if field.name == "queue" else value
        return fields

    def duration(self, kind: types.DurationKind) -> int | None:
        """
        Return how long a part of the job's life took, in milliseconds; None if it is not over.

        Parameters
        ----------
        kind
            ``process``: from start to end; ``start``: until it began; ``total``: from being
            enqueued to the end; ``running``: since it began.
        """
        if kind == "process":
            return _span(self.started, self.completed)
        if kind == "start":
            return _span(self.queued, self.started)
        if kind == "total":
            return _span(self.queued, self.completed)
        if kind == "running":
            return _span(self.started, now())
        raise ValueError(f"Unknown duration type: {kind}")

    def next_retry_delay(self) -> float:
        """Return the seconds until the next attempt, were this one to fail now."""
        if not self.retry_backoff:
            return self.retry_delay
        cap = None if self.retry_backoff is True else self.retry_backoff
        return exponential_backoff(self.attempts, self.retry_delay, cap, jitter=True)

    def get_queue(self) -> Queue:
        """Return the job's queue."""
        if self.queue is None:
            raise TypeError(
                "`Job` must be associated with a `Queue` before this operation can proceed"
            )
        return self.queue

    async def enqueue(self, queue: Queue | None = None) -> None:
        """
        Enqueue the job; if its key is taken, read what the queue has under that.

        Parameters
        ----------
        queue
            Where to; None: the job's own queue.
        """
        target = queue or self.get_queue()
        if not await target.enqueue(self):
            await self.refresh()

    async def abort(self, error: str, ttl: int = 5) -> None:
        """
        Keep the job from running, or stop it.

        Parameters
        ----------
        error
            Why.
        ttl
            As in SAQ on PostgreSQL, nothing comes of it.
        """
        await self.get_queue().abort(self, error, ttl=ttl)

    async def finish(
        self, status: Status, *, result: Any = None, error: str | None = None
    ) -> None:
        """
        End the job.

        Parameters
        ----------
        status
            How it ends: a terminal one.
        result
            What came of it.
        error
            What went wrong.
        """
        await self.get_queue().finish(self, status, result=result, error=error)

    async def retry(self, error: str | None) -> None:
        """
        Let the job run again.

        Parameters
        ----------
        error
            Why.
        """
        await self.get_queue().retry(self, error)

    async def update(self, **kwargs: Any) -> None:
        """
        Store new progress or meta, and show that the job is alive.

        Parameters
        ----------
        **kwargs
            Fields of the job by their names; others are ignored.
        """
        await self.get_queue().update(self, **kwargs)

    async def refresh(self, until_complete: float | None = None) -> None:
        """
        Read the job anew.

        Parameters
        ----------
        until_complete
            Seconds to wait until it has ended; 0: for ever; None: do not wait.
        """
        queue = self.get_queue()
        if until_complete is not None:
            await queue.wait_until_over(self, until_complete or None)
        job = await queue.job(self.key)
        if job is None:
            raise RuntimeError(f"{self} doesn't exist")
        self.replace(job)

    def replace(self, job: Job) -> None:
        """
        Take over all fields of another job.

        Parameters
        ----------
        job
            The other.
        """
        for field in dataclasses.fields(job):
            setattr(self, field.name, getattr(job, field.name))
        self.row_id = job.row_id


def _span(begin: int, end: int) -> int | None:
    return end - begin if begin and end else None
