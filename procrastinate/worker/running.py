"""The jobs that run in this worker just now."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import attrs

from procrastinate import job_context

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from procrastinate import jobs
    from procrastinate.rpc import wire
    from procrastinate.worker.limits import Limits
    from procrastinate.worker.worker import Worker


class RunningJob:
    """
    A claim of this worker's, from the moment that it is known here until its end is told.

    Parameters
    ----------
    job
        What was claimed.
    claim_id
        The number that proves it.
    started_at
        The time of its start: seconds since the epoch.
    """

    # What a job may never set stands here, in the class: one of these is made for each job.
    ended_at: float | None = None
    returned: Any = None
    """What the task returned."""
    is_async: bool | None = None
    """Whether cancelling the asyncio task reaches the job's own code; None: not begun yet."""
    run: asyncio.Task[None] | None = None
    reason: job_context.AbortReason | None = None
    status: jobs.Status | None = None
    """How the run ended."""
    end: wire.End | None = None
    """What the database is to be told of that, or :attr:`retry`, or :attr:`failure`."""
    retry: wire.Retry | None = None
    failure: wire.End | None = None
    """Or this: it failed, and the policy in the job's data says whether it is tried again."""
    error: BaseException | None = None
    """What it raised, until that is known."""
    limits: Limits | None = None
    """Its timeout and heartbeat, if it has one."""
    has_told: bool = False
    """Something of what it told may not have been sent."""
    is_given_up: bool = False
    """What it left could not be stored: it fails without."""
    was_sent: bool = False
    """It was told before, and the answer was lost: it may have been applied."""

    def __init__(self, job: jobs.Job, claim_id: int, started_at: float) -> None:
        self.job: jobs.Job = job
        self.claim_id: int = claim_id
        self.started_at: float = started_at

    @property
    def result(self) -> job_context.JobResult:
        """The same as log records carry it."""
        return job_context.JobResult(
            start_timestamp=self.started_at, end_timestamp=self.ended_at, result=self.returned
        )

    def abort_reason(self) -> job_context.AbortReason | None:
        """Say why the job is asked to abort; None if it is not. Any thread may ask."""
        return self.reason

    def disown(self) -> None:
        """Be of no claim: the number is a later one's."""
        nobody = self.claim_id = -self.claim_id  # the database numbers from 1 upwards
        if self.end is not None:
            self.end = self.end._replace(claim_id=nobody)
        if self.failure is not None:
            self.failure = self.failure._replace(claim_id=nobody)
        if self.retry is not None:
            self.retry = attrs.evolve(self.retry, claim_id=nobody)


class RunningJobs:
    """
    All of them, by claim: a job that was lost and fetched again may be there twice.

    Parameters
    ----------
    worker
        Whose jobs they are.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._by_claim: dict[int, RunningJob] = {}
        # Jobs whose abort was announced before the answer of their own claim was here.
        self._early_aborts: set[int] = set()

    def __len__(self) -> int:
        """Count them."""
        return len(self._by_claim)

    def __iter__(self) -> Iterator[RunningJob]:
        """Iterate over those that run now; they may end meanwhile."""
        return iter(list(self._by_claim.values()))

    def __contains__(self, claim_id: int) -> bool:
        """Whether a claim runs here."""
        return claim_id in self._by_claim

    def add(self, running: RunningJob) -> None:
        """Take one in."""
        self._by_claim[running.claim_id] = running
        if running.job.id in self._early_aborts:
            running.reason = job_context.AbortReason.USER_REQUEST

    def remove(self, running: RunningJob) -> None:
        """Let one go, which has ended."""
        del self._by_claim[running.claim_id]

    def disown(self, claim_id: int) -> None:
        """Let a claim's number be a later one's, if it runs here."""
        running = self._by_claim.pop(claim_id, None)
        if running is not None:
            running.disown()
            self._by_claim[running.claim_id] = running

    def was_to_abort(self, job_id: int | None) -> bool:
        """Whether a job was asked to abort before the answer of its claim was here."""
        return job_id in self._early_aborts

    def forget_early_aborts(self) -> None:
        """No answer is awaited: who asked for the abort of another job meant another worker."""
        self._early_aborts.clear()

    def may_have(self, job_id: int) -> bool:
        """Whether a job runs here, waits here, or may be on its way here."""
        return (
            any(running.job.id == job_id for running in self)
            or self._worker.prefetched.has_job(job_id)
            or self._worker.claims.under_way
        )

    def abort_by_id(self, job_id: int) -> None:
        """Ask a job to abort, at a user's request; if it may be on its way here, remember it."""
        found = [running for running in self if running.job.id == job_id]
        for running in found:
            self.abort(running, job_context.AbortReason.USER_REQUEST)
        if found or self._worker.prefetched.abort_by_id(job_id):
            return
        if self._worker.claims.under_way:
            self._early_aborts.add(job_id)

    def abort(self, running: RunningJob, reason: job_context.AbortReason) -> None:
        """Ask a job to abort, once: what it does about that is its own affair."""
        if running.reason is not None:
            return
        running.reason = reason
        # A task that is cancelled before its first step never runs at all, and would report no
        # end. The executor tells it once it has begun.
        if running.is_async is not None:
            self.tell(running)

    def tell(self, running: RunningJob) -> None:
        """Let a job that is asked to abort feel it."""
        if running.is_async and running.run is not None:
            self._log_abort(
                running,
                "Received a request to abort an asynchronous job. Cancelling asyncio task",
            )
            running.run.cancel()
        else:
            self._log_abort(
                running,
                "Received a request to abort a synchronous job. Job is responsible for "
                "aborting by checking context.should_abort",
            )

    def _log_abort(self, running: RunningJob, message: str) -> None:
        logger = self._worker.logger
        if logger.isEnabledFor(logging.DEBUG):
            extra: dict[str, Any] = self._worker.log_extra("abort_job", running.job)
            logger.debug(message, extra=extra)
