"""The limits of one run: how long it may take, and how long it may be silent."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from procrastinate import exceptions, job_context

if TYPE_CHECKING:
    from procrastinate import jobs
    from procrastinate.worker.running import RunningJob
    from procrastinate.worker.worker import Worker

#: Of a heartbeat: a touch that comes sooner after the last one that was sent is not sent.
TOUCH_AGAIN = 0.25


class Limits:
    """
    Ends a run that takes too long, or is silent for too long. Made with its start.

    Parameters
    ----------
    worker
        Who runs it.
    running
        The run.
    options
        Its job's, with a timeout or a heartbeat.
    """

    def __init__(self, worker: Worker, running: RunningJob, options: jobs.JobOptions) -> None:
        self._worker = worker
        self._running = running
        self._timeout = options.timeout
        self._heartbeat = options.heartbeat
        self._loop = asyncio.get_running_loop()
        # Not the loop's clock, which is not for other threads: those touch, too.
        self._started_at = self._touched_at = self._sent_at = time.monotonic()
        self._words: str | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._next_listen: asyncio.TimerHandle | None = None
        if self._timeout is not None:
            self._alarm = self._loop.call_later(self._timeout, self._run_out)
        if self._heartbeat is not None:
            self._next_listen = self._loop.call_later(self._heartbeat, self._listen)

    def touch(self) -> bool:
        """
        Take a sign of life, and tell whether the database should hear of it. Any thread may call.
        """
        if self._heartbeat is None:
            return False
        now = self._touched_at = time.monotonic()
        if now - self._sent_at < self._heartbeat * TOUCH_AGAIN:
            return False
        self._sent_at = now
        return True

    def close(self, error: BaseException | None) -> BaseException | None:
        """Take the run's end, and return what it ended with: `JobTimeout` if it was too late."""
        for alarm in (self._alarm, self._next_listen):
            if alarm is not None:
                alarm.cancel()
        if self._words is None:
            return error
        timeout = exceptions.JobTimeout(self._words + self._what_it_did(error))
        timeout.__cause__ = error
        return timeout

    def _what_it_did(self, error: BaseException | None) -> str:
        lasted = time.monotonic() - self._started_at
        if not self._running.is_async:
            return (
                f". Its thread could not be stopped: it went on, and ended after {lasted:.3f} s"
            )
        if isinstance(error, asyncio.CancelledError):
            return ""
        return f". It was cancelled, went on, and ended after {lasted:.3f} s"

    def _run_out(self) -> None:
        self._expire(
            f"Job {self._running.job.log_string} ran longer than its timeout of "
            f"{self._timeout:g} s"
        )

    def _listen(self) -> None:
        assert self._heartbeat is not None  # It is what rang.
        silent = time.monotonic() - self._touched_at
        if silent < self._heartbeat:
            self._next_listen = self._loop.call_later(self._heartbeat - silent, self._listen)
            return
        self._expire(
            f"Job {self._running.job.log_string} gave no sign of life within its heartbeat of "
            f"{self._heartbeat:g} s"
        )

    def _expire(self, words: str) -> None:
        running, worker = self._running, self._worker
        if running.reason is not None:
            return  # It was asked to abort before: that is what it ends by.
        self._words = words
        worker.logger.warning(
            "%s: %s",
            words,
            "its thread can't be stopped, the job fails when it ends"
            if running.is_async is False
            else "it is cancelled",
            extra=worker.log_extra("job_timeout", running.job),
        )
        worker.running.abort(running, job_context.AbortReason.TIMEOUT)
