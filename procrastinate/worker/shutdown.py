"""The end of a worker: asked for once, then waited for, then insisted on."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from procrastinate import job_context
from procrastinate.worker import waiting

if TYPE_CHECKING:
    from procrastinate.worker.worker import Worker

#: Seconds that jobs get to end, and to be reported, when the worker is told to leave at once.
LAST_MOMENT = 1.0


class Shutdown:
    """
    How far a worker is on its way out.

    Parameters
    ----------
    worker
        Who is to end.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._requested_at: float | None = None
        self._event = asyncio.Event()
        self._insisted = asyncio.Event()

    @property
    def requested(self) -> bool:
        """Whether no more jobs are to be claimed."""
        return self._requested_at is not None

    @property
    def insisted(self) -> bool:
        """Whether the worker is to leave in a moment, whatever its jobs do."""
        return self._insisted.is_set()

    def seconds_since_request(self) -> float | None:
        """Tell how long ago the end was asked for; None if it was not."""
        return None if self._requested_at is None else time.monotonic() - self._requested_at

    def drained(self) -> None:
        """Nothing is left to do, and nobody asked for the end: no words about it."""
        self._requested_at = time.monotonic()
        self._worker.claims.wake()

    def request(self) -> None:
        """Claim no more jobs, and end when those that run have ended."""
        if self.requested:
            return
        self._requested_at = time.monotonic()
        self._worker.logger.info(
            "Stop requested", extra=self._worker.log_extra("stopping_worker", queues=True)
        )
        self._event.set()
        self._worker.prefetched.give_back()
        self._worker.claims.wake()

    def insist(self) -> None:
        """Abort what runs, and leave in a moment whatever it does."""
        self._insisted.set()

    async def run(self, claims: asyncio.Task[None]) -> None:
        """Abort what still runs after the graceful timeout; cut it short if that is wanted."""
        await self._event.wait()
        worker = self._worker
        now = time.time()
        for running in worker.running:
            worker.logger.info(
                "Waiting for job to finish: %s: %s (started %.3f s ago)",
                worker.worker_name,
                running.job.log_string,
                now - running.started_at,
                extra=worker.log_extra("ending_job", running.job),
            )
        await waiting.event_or_deadline(self._insisted, worker.shutdown_graceful_timeout)
        if worker.running:
            worker.logger.info(
                "%s jobs still running after graceful timeout. Aborting them",
                len(worker.running),
                extra=worker.log_extra("stop_worker", queues=True),
            )
        for running in worker.running:
            worker.running.abort(running, job_context.AbortReason.SHUTDOWN)
        await self._insisted.wait()
        # What ends in this moment is still reported.
        await asyncio.wait([claims], timeout=LAST_MOMENT)
        claims.cancel()
