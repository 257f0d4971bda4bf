"""
Waiting for the end of jobs: any number of waiters, one connection that listens and one that asks.

The database tells of ends on a channel, if a job's result is stored and somebody has said to
wait. Who waits is woken by that or, the other ends and whatever was missed being found so, by a
look every half a second at all jobs that somebody waits for, in one statement. docs/decisions/0102
and 0139.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from procrastinate import exceptions, patience
from procrastinate.rpc import results

if TYPE_CHECKING:
    from collections.abc import Iterable

    from procrastinate import connector as connector_module
    from procrastinate.rpc import values
    from procrastinate.rpc.call import Call

T = TypeVar("T")

logger: logging.Logger = logging.getLogger(__name__)

CHANNEL = "procrastinate_ended_v1"

#: Seconds from one look at all jobs that are waited for to the next.
POLLING_INTERVAL = 0.5

#: Of the first to wait: seconds until the second look; to each further one it is twice as long.
#: An end that was under way when nobody waited yet is not announced.
FIRST_INTERVAL = 0.01

#: Seconds until it is said again that somebody waits, and for which the word holds at least.
SAY_AGAIN = 15.0
WORD_HOLDS = 30.0

#: Jobs in one statement.
MOST_JOBS = 1000

#: Seconds for which connections are kept when nobody waits any more: the next one may come soon.
LINGER = 30.0

#: The statuses that a job stays in.
ENDS = frozenset({"succeeded", "failed", "cancelled", "aborted"})


@attrs.define(eq=False)
class _Wait:
    """One call that waits for some jobs."""

    missing: set[int]
    reports: dict[int, values.JobReport]
    over: asyncio.Future[Exception | None]

    def settle(self, failure: Exception | None = None) -> None:
        """End it, with an error or without one."""
        # An error is a result here: an exception that nobody fetches any more would be logged.
        if not self.over.done():
            self.over.set_result(failure)


class Waiters:
    """
    All that wait for jobs by one connector, in one event loop.

    Parameters
    ----------
    connector
        What talks to the database.
    loop
        The event loop that runs.
    """

    def __init__(
        self, connector: connector_module.BaseConnector, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._connector = connector
        self._loop = loop
        self._waits: dict[int, set[_Wait]] = {}  # by job
        self._due: dict[int, None] = {}  # jobs to look at, the oldest first
        self._line = connector.line()
        self._look: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._next_look: asyncio.TimerHandle | None = None
        self._interval = POLLING_INTERVAL
        self._say_at = self._holds_until = float("-inf")
        """When to say that somebody waits, and until when the database knows; the loop's clock."""
        self._farewell: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._retry = asyncio.Event()
        self._inquiry = asyncio.Lock()

    def serves(
        self, connector: connector_module.BaseConnector, loop: asyncio.AbstractEventLoop
    ) -> bool:
        """Whether it is for this connector and this event loop."""
        return self._connector is connector and self._loop is loop

    def __len__(self) -> int:
        """Count the jobs that are waited for."""
        return len(self._waits)

    async def wait(
        self, job_ids: Iterable[int], timeout: float | None = None
    ) -> list[values.JobReport]:
        """
        Wait until all of these jobs have ended, and return what is known of each.

        Raises
        ------
        TimeoutError
            They have not, within so many seconds.
        exceptions.JobNotFound
            One of them is not there.
        exceptions.ConnectorException
            The database refuses to tell. One that can't be reached is waited for.
        """
        wanted = list(job_ids)
        if not wanted:
            return []
        wait = _Wait(set(wanted), {}, self._loop.create_future())
        self._enter(wait)
        try:
            async with asyncio.timeout(timeout):
                failure = await wait.over
        finally:
            self._leave(wait)
        if failure is not None:
            raise failure
        return [wait.reports[job_id] for job_id in wanted]

    async def close(self) -> None:
        """Let go of all connections; who still waits is told that the app is not open."""
        for wait in {wait for waits in self._waits.values() for wait in waits}:
            wait.settle(exceptions.AppNotOpen())
        self._waits.clear()
        self._due.clear()
        self._rest()
        look, self._look = self._look, None
        if look is not None:
            look.cancel()
            await asyncio.wait([look])
        self._part()
        while self._ending:
            await asyncio.wait(self._ending)

    def _enter(self, wait: _Wait) -> None:
        for job_id in wait.missing:
            self._waits.setdefault(job_id, set()).add(wait)
        if self._farewell is not None:
            self._farewell.cancel()
            self._farewell = None
        if self._listener is None or self._listener.done():
            self._listener = self._loop.create_task(self._listen())
        if self._next_look is None:
            if self._loop.time() >= self._holds_until:
                self._interval = FIRST_INTERVAL
            self._look_later()
        self._look_soon(wait.missing)

    def _leave(self, wait: _Wait) -> None:
        for job_id in wait.missing:
            waits = self._waits.get(job_id, set())
            waits.discard(wait)
            if not waits:
                self._waits.pop(job_id, None)
                self._due.pop(job_id, None)
        if not self._waits:
            self._rest()
            if self._farewell is None and self._listener is not None:
                self._farewell = self._loop.call_later(LINGER, self._part)

    def _rest(self) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None

    def _part(self) -> None:
        """Let go of the connections: nobody waits."""
        if self._farewell is not None:
            self._farewell.cancel()
            self._farewell = None
        ending = [self._loop.create_task(self._close_line())]
        if self._listener is not None:
            self._listener.cancel()
            ending.append(self._listener)
            self._listener = None
        for task in ending:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _close_line(self) -> None:
        if self._look is not None:
            # Nobody waits for it, but a line that is closed says nothing.
            await asyncio.wait([self._look])
        if not self._waits:
            await self._line.close()

    def _look_later(self) -> None:
        self._next_look = self._loop.call_later(self._interval, self._look_at_all)
        self._interval = min(self._interval * 2, POLLING_INTERVAL)

    def _look_at_all(self) -> None:
        self._look_later()
        self._look_soon(self._waits)

    def _look_soon(self, job_ids: Iterable[int]) -> None:
        """Look at jobs with the next statement: at once, if none is under way."""
        self._due.update(dict.fromkeys(job_ids))
        if self._due and self._look is None:
            self._look = self._loop.create_task(self._look_at_due())
            self._look.add_done_callback(self._looked)

    def _looked(self, look: asyncio.Task[None]) -> None:
        if self._look is look:
            self._look = None

    async def _look_at_due(self) -> None:
        while self._due:
            asked = list(self._due)[:MOST_JOBS]
            for job_id in asked:
                del self._due[job_id]
            try:
                await self._say()
                reports = await self._ask(results.get_results_v1(job_ids=asked))
            except exceptions.DatabaseUnavailable:
                # Who waits goes on waiting: the next look at all comes soon.
                self._due.clear()
                return
            except Exception as exc:  # It is raised where somebody waits.
                for job_id in asked:
                    self._fail(job_id, exc)
            else:
                self._settle(asked, {report.job_id: report for report in reports})

    async def _say(self) -> None:
        """Say that somebody waits, if that was not said just now."""
        now = self._loop.time()
        if now < self._say_at:
            return
        until = await self._ask(results.announce_ends_v1())
        self._say_at = now + SAY_AGAIN
        if until is not None:
            self._holds_until = now + WORD_HOLDS

    async def _ask(self, call: Call[T]) -> T:
        sent = self._line.call_async(call)
        return await patience.answer_to(sent, turn=self._inquiry, line=self._line)

    def _settle(self, asked: list[int], reports: dict[int, values.JobReport]) -> None:
        for job_id in asked:
            report = reports.get(job_id)
            if report is None:
                self._fail(job_id, not_found(job_id))
            elif report.status in ENDS:
                for wait in self._waits.pop(job_id, set()):
                    wait.reports[job_id] = report
                    wait.missing.discard(job_id)
                    if not wait.missing:
                        wait.settle()

    def _fail(self, job_id: int, exc: Exception) -> None:
        for wait in self._waits.pop(job_id, set()):
            wait.settle(exc)

    async def _listen(self) -> None:
        """Listen until cancelled, and again whenever the connection is lost."""
        while True:
            try:
                await self._connector.listen_notify(
                    on_notification=self._hear,
                    channels=[CHANNEL],
                    on_listening=self._look_again,
                )
            except exceptions.DatabaseUnavailable as exc:
                logger.debug("The connection that hears of ends is lost: %r", exc)
            except exceptions.ProcrastinateException as exc:
                logger.debug("This connector can't listen, ends are looked for: %r", exc)
                return
            else:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLLING_INTERVAL):
                    await self._retry.wait()

    def _look_again(self) -> None:
        # What was told before this connection listened was told to nobody.
        self._look_soon(self._waits)

    async def _hear(self, *, channel: str, payload: str) -> None:
        try:
            notification: Any = json.loads(payload)
            job_ids: list[Any] = list(notification["job_ids"])
        except (ValueError, KeyError, TypeError):
            logger.debug("Received a notification that is not ours: %r", payload)
            return
        self._look_soon(job_id for job_id in job_ids if job_id in self._waits)


def not_found(job_id: int) -> exceptions.JobNotFound:
    """Return the error that a job is not there."""
    return exceptions.JobNotFound(
        f"There is no job {job_id}: it was deleted when it ended (a worker with delete_jobs), or "
        "later, or never was. With keep_result=True its result outlives it"
    )
