"""
What running jobs tell of themselves: taken at once, and told to the database a little later.

However often tasks call, it is one statement for all jobs of the worker, and the next one not
before :data:`INTERVAL` is over. A job that ends does not wait for that: its last word goes at
once, and its end after it.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import attrs

from procrastinate import exceptions
from procrastinate.rpc import call, results
from procrastinate.worker import records, waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from procrastinate.worker.running import RunningJob
    from procrastinate.worker.worker import Worker

#: Seconds from one statement to the next.
INTERVAL = 0.1

#: Jobs in one statement.
MOST_JOBS = 1000


@attrs.define(eq=False)
class _Word:
    """What a job has told since the last statement; None says nothing."""

    running: RunningJob
    progress: float | None = None
    meta: call.Written | None = None

    @property
    def is_touch(self) -> bool:
        """Whether it says no more than that the job lives."""
        return self.progress is None and self.meta is None

    def after(self, before: _Word) -> _Word:
        """Return what is left to say if this comes after another."""
        if self.progress is None:
            self.progress = before.progress
        if self.meta is None:
            self.meta = before.meta
        return self


@attrs.frozen(eq=False)
class Reporter:
    """What a job's context tells: see :class:`procrastinate.job_context.Reporter`."""

    updates: Updates
    running: RunningJob

    def update(self, progress: float | None, meta: Mapping[str, Any] | None) -> None:
        """Take what the task tells. Any thread may call."""
        self.updates.take(self.running, progress, meta)

    def touch(self) -> None:
        """Take a sign of life. Any thread may call."""
        self.updates.touch(self.running)


class Updates:
    """
    Collects what running jobs tell, and sends it.

    Parameters
    ----------
    worker
        Who runs them.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._lock = threading.Lock()  # tasks tell from threads, too
        self._words: dict[RunningJob, _Word] = {}
        self._under_way: dict[RunningJob, _Word] = {}
        self._ends: dict[RunningJob, Callable[[], None]] = {}
        self._wanted = asyncio.Event()
        self._at_once = asyncio.Event()
        self._next_at = 0.0
        self._failures = 0
        self._is_over = False

    def take(
        self, running: RunningJob, progress: float | None, meta: Mapping[str, Any] | None
    ) -> None:
        """
        Take what a job tells.

        Raises
        ------
        TypeError, ValueError
            The meta can't be stored.
        """
        written = None
        if meta is not None:
            json_dumps = self._worker.app.connector.json_dumps
            # Now: the task may change it the next moment, and it is the task that is wrong.
            written = records.meta_of(running.job, meta, json_dumps)
        if running.limits is not None:
            running.limits.touch()
        self._add(_Word(running, progress, written))

    def touch(self, running: RunningJob) -> None:
        """Take a sign of life."""
        if running.limits is not None and running.limits.touch():
            self._add(_Word(running))

    def _add(self, word: _Word) -> None:
        running = word.running
        with self._lock:
            is_first = not self._words
            before = self._words.get(running)
            self._words[running] = word if before is None else word.after(before)
        running.has_told = True
        if is_first:
            self._worker.call_in_loop(self._wanted.set)

    def before_end(self, running: RunningJob, end: Callable[[], None]) -> None:
        """Call a function once nothing that a job told is left to be sent: at once, mostly."""
        with self._lock:
            word = self._words.get(running)
            if word is not None and (word.is_touch or self._is_over):
                del self._words[running]
                word = None
        if word is None and running not in self._under_way:
            end()
            return
        self._ends[running] = end
        self._wanted.set()
        self._at_once.set()

    async def run(self) -> None:
        """Send until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._wanted.wait()
                await waiting.event_or_deadline(self._at_once, self._next_at - loop.time())
                self._wanted.clear()
                self._at_once.clear()
                self._next_at = loop.time() + INTERVAL
                await self._send_all()
        finally:
            self._is_over = True
            self._let_end(list(self._ends))

    async def _send_all(self) -> None:
        with self._lock:
            words, self._words = self._words, {}
        self._under_way = words
        told = list(words.values())
        try:
            for start in range(0, len(told), MOST_JOBS):
                await self._send(told[start : start + MOST_JOBS])
        except exceptions.DatabaseUnavailable as exc:
            self._put_back(words)
            await self._wait_for_database(exc)
        else:
            self._failures = 0
        finally:
            self._under_way = {}
        with self._lock:
            ended = [running for running in self._ends if running not in self._words]
        self._let_end(ended)

    async def _send(self, words: list[_Word]) -> None:
        """Send one statement. If it is refused, send each half: in the end who was to blame."""
        worker = self._worker
        try:
            await worker.outage.call(
                results.update_jobs_v1(
                    worker_id=worker.registration.worker_id,
                    updates=[_update_of(word) for word in words],
                )
            )
        except exceptions.DatabaseUnavailable:
            raise
        except exceptions.ConnectorException as exc:
            if len(words) > 1:
                middle = len(words) // 2
                await self._send(words[:middle])
                await self._send(words[middle:])
                return
            job = words[0].running.job
            worker.logger.warning(
                "The progress and meta of job %s were refused: %s",
                job.log_string,
                exc.__cause__ or exc,
                extra=worker.log_extra("job_update_refused", job),
            )

    def _put_back(self, words: dict[RunningJob, _Word]) -> None:
        with self._lock:
            for running, word in words.items():
                newer = self._words.get(running)
                self._words[running] = word if newer is None else newer.after(word)

    async def _wait_for_database(self, exc: exceptions.DatabaseUnavailable) -> None:
        worker = self._worker
        self._wanted.set()
        if worker.shutdown.requested:
            # A worker that is to stop does not stay for what was on the way to an end.
            with self._lock:
                for running in self._ends:
                    self._words.pop(running, None)
            return
        worker.outage.begin(exc)
        self._failures += 1
        await worker.outage.pause(self._failures - 1)

    def _let_end(self, runs: list[RunningJob]) -> None:
        for running in runs:
            self._ends.pop(running)()


def _update_of(word: _Word) -> results.Update:
    assert word.running.job.id is not None  # It was claimed: the database has numbered it.
    return results.Update(
        job_id=word.running.job.id,
        claim_id=word.running.claim_id,
        progress=word.progress,
        meta=word.meta,
    )
