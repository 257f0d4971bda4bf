"""What a running job is told about itself."""

from __future__ import annotations

import enum
import time
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from procrastinate import jobs, utils

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from procrastinate import app as app_module
    from procrastinate import tasks


class AbortReason(enum.Enum):
    """
    An enumeration of reasons a job is being aborted
    """

    USER_REQUEST = "user_request"
    """The user requested to abort the job."""
    SHUTDOWN = "shutdown"
    """The job is being aborted as part of shutting down the worker."""
    TIMEOUT = "timeout"
    """The job ran longer than its timeout, or was silent for longer than its heartbeat."""


class Reporter(Protocol):
    """What takes what a job tells of itself; any thread may call."""

    def update(self, progress: float | None, meta: Mapping[str, Any] | None) -> None:
        """Take how far the job is, and what it says of that."""
        ...

    def touch(self) -> None:
        """Take a sign of life."""
        ...


@attrs.define(kw_only=True, slots=False, order=True)
class JobResult:
    """When a run started and ended, and what the task returned."""

    start_timestamp: float
    end_timestamp: float | None = None
    result: Any = None

    def duration(self, current_timestamp: float) -> float | None:
        """Return how long the run took, or has taken until this moment, in seconds."""
        return (self.end_timestamp or current_timestamp) - self.start_timestamp

    def as_dict(self) -> dict[str, Any]:
        """Return what log records carry; the end and the result once there is an end."""
        result: dict[str, Any] = {
            "start_timestamp": self.start_timestamp,
            "duration": self.duration(current_timestamp=time.time()),
        }
        if self.end_timestamp is not None:
            result["end_timestamp"] = self.end_timestamp
            result["result"] = self.result
        return result


@attrs.define(frozen=True, kw_only=True, slots=False, order=True)
class JobContext:
    """
    Execution context of a running job.
    """

    app: app_module.App
    """Procrastinate `App` running this job"""
    worker_name: str | None = None
    """Name of the worker (may be useful for logging)"""
    worker_queues: Iterable[str] | None = None
    """Queues listened by this worker"""
    job: jobs.Job
    """Current `Job` instance"""
    start_timestamp: float
    """Time the job started to be processed, in seconds since the epoch"""
    additional_context: dict[str, Any] = attrs.field(factory=dict[str, Any])
    """What the worker was given as ``additional_context``; a copy of this job's own"""
    abort_reason: Callable[[], AbortReason | None]
    """Says why the job is asked to abort; None if it is not"""
    reporter: Reporter | None = attrs.field(default=None, eq=False, order=False, repr=False)
    """Takes what the job tells of itself; None outside of a worker"""

    def evolve(self, **update: Any) -> JobContext:
        """
        Return a copy with some attributes changed.

        Parameters
        ----------
        **update
            New values by the names of the attributes.
        """
        return attrs.evolve(self, **update)

    @property
    def queues_display(self) -> str:
        """The worker's queues as people read them."""
        return utils.queues_display(self.worker_queues)

    @property
    def task(self) -> tasks.Task[Any, Any, Any]:
        """The `tasks.Task` associated to the job"""
        return self.app.tasks[self.job.task_name]

    def should_abort(self) -> bool:
        """
        Tell whether the job should abort: because somebody asked for it, or because its worker
        stops, or because it is out of time (`abort_reason` says which). A task should then stop
        as soon as it can, and raise `exceptions.JobAborted`. It costs no query.
        """
        return self.abort_reason() is not None

    def update(
        self, *, progress: float | None = None, meta: Mapping[str, Any] | None = None
    ) -> None:
        """
        Tell how far the job is; `JobManager.get_report_async` shows it to others.

        It returns at once, in a coroutine as in a thread: what is told is written a moment later,
        for all jobs of the worker together, and before the job's end. What is told more often
        than every 100 ms is written then as it was told last. It counts as a sign of life, too
        (`touch`).

        Parameters
        ----------
        progress
            From 0.0 to 1.0; None keeps what was told before.
        meta
            What else is to be known, as JSON can say it; it replaces what was told before, None
            keeps that.

        Raises
        ------
        ValueError
            The progress is not from 0 to 1, or PostgreSQL can't store the meta.
        TypeError
            The progress is no number, or the meta is no mapping or not what JSON can say.
        """
        if progress is not None:
            told: Any = progress  # whatever the user's own checker has let through
            if isinstance(told, bool) or not isinstance(told, int | float):
                raise TypeError(f"progress must be a number from 0 to 1, not {told!r}")
            if not 0 <= progress <= 1:
                raise ValueError(f"progress must be from 0 to 1, not {progress!r}")
        if self.reporter is not None:
            self.reporter.update(progress, meta)

    def touch(self) -> None:
        """
        Give a sign of life: a job with a heartbeat must do so more often than that says.

        It returns at once, in a coroutine as in a thread, and may be called as often as wanted.
        """
        if self.reporter is not None:
            self.reporter.touch()
