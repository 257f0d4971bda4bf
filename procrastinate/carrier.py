"""
Defers that are made at once ride together: many jobs, one statement.

No timer, and nobody waits for company. A defer that is alone goes at once, as a call of its own;
what comes while a statement is under way goes with the next: docs/decisions/0070.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import copy
from typing import TYPE_CHECKING

import attrs

from procrastinate import exceptions, pieces
from procrastinate.rpc import call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from procrastinate import connector as connector_module
    from procrastinate import jobs

# What concerns whoever defers just then, whatever the job: it is not looked for among the riders.
_OF_ALL = (
    exceptions.AppNotOpen,
    exceptions.DatabaseUnavailable,
    exceptions.SchemaMismatch,
)


@attrs.define(eq=False)
class _Rider:
    """One defer that waits for the next statement, or for the answer to its own."""

    job: jobs.Job
    args: call.Written
    answer: asyncio.Future[int | Exception]
    batch: _Batch | None = None


@attrs.define(eq=False)
class _Batch:
    """The riders of one statement, and the task that sends it."""

    task: asyncio.Task[None]
    aboard: int  # those who wait for an answer

    def leave(self) -> None:
        """One rider does not wait any more; a statement that nobody waits for is cancelled."""
        self.aboard -= 1
        if not self.aboard:
            self.task.cancel()


class Carrier:
    """
    Takes the defers of one connector and one event loop to the database.

    At most one statement is under way. Each rider gets its own id or its own error.

    Parameters
    ----------
    connector
        What sends the statements.
    loop
        The event loop that runs.
    """

    def __init__(
        self, connector: connector_module.BaseConnector, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._connector = connector
        self._loop = loop
        self._waiting: collections.deque[_Rider] = collections.deque()
        self._is_under_way = False

    def serves(
        self, connector: connector_module.BaseConnector, loop: asyncio.AbstractEventLoop
    ) -> bool:
        """Whether it is for this connector and this event loop."""
        return self._connector is connector and self._loop is loop

    async def defer(self, job: jobs.Job) -> int:
        """
        Defer a job without a queueing lock, and return its id.

        Raises
        ------
        exceptions.ConnectorException
            The database refused this job, or is not there.
        """
        if not self._is_under_way:
            return await self._defer_alone(job)
        args = call.Written(call.dumped(job.task_kwargs, self._connector.json_dumps))
        rider = _Rider(job, args, self._loop.create_future())
        self._waiting.append(rider)
        try:
            answer = await rider.answer
        except asyncio.CancelledError:
            if rider.batch is not None and rider.answer.cancelled():
                rider.batch.leave()
            raise
        if isinstance(answer, Exception):
            raise answer from answer.__cause__
        return answer

    async def _defer_alone(self, job: jobs.Job) -> int:
        self._is_under_way = True
        try:
            return await self._connector.call_async(pieces.one(job))
        finally:
            if self._waiting:
                self._depart_soon()
            else:
                self._is_under_way = False

    def _depart_soon(self) -> None:
        # Not at once: those who have just got their answers may have the next job to defer.
        # The context is nobody's: what goes on here is not part of what a rider is doing.
        self._loop.call_soon(self._depart, context=contextvars.Context())

    def _depart(self) -> None:
        riders = self._board()
        if not riders:
            self._is_under_way = False
            return
        batch = _Batch(self._loop.create_task(self._carry(riders)), len(riders))
        for rider in riders:
            rider.batch = batch

    def _board(self) -> list[_Rider]:
        """Take those who come along; the others stay in line."""
        riders: list[_Rider] = []
        room = pieces.Room()
        while self._waiting:
            rider = self._waiting[0]
            if not rider.answer.done():  # who was cancelled does not come
                if not room.takes(rider.args):
                    break
                riders.append(rider)
            self._waiting.popleft()
        return riders

    async def _carry(self, riders: list[_Rider]) -> None:
        try:
            await self._deliver(riders)
        finally:
            for rider in riders:
                rider.answer.cancel()  # if there is none: the loop is being shut down
            self._depart_soon()

    async def _deliver(self, riders: Sequence[_Rider]) -> None:
        """Send one statement. If it is refused, send each half: in the end who was to blame."""
        riders = [rider for rider in riders if not rider.answer.done()]
        if not riders:
            return
        try:
            ids = await self._connector.call_async(
                pieces.many([rider.job for rider in riders], [rider.args for rider in riders])
            )
        except _OF_ALL as exc:
            for rider in riders:
                self._answer(rider, _copy_of(exc))
        except Exception as exc:  # raised where the job was deferred
            if len(riders) == 1:
                self._answer(riders[0], exc)
                return
            middle = len(riders) // 2
            await self._deliver(riders[:middle])
            await self._deliver(riders[middle:])
        else:
            for rider, job_id in zip(riders, ids, strict=True):
                self._answer(rider, job_id)

    @staticmethod
    def _answer(rider: _Rider, answer: int | Exception) -> None:
        # An error is a result here: an exception that nobody fetches any more would be logged.
        if not rider.answer.done():
            rider.answer.set_result(answer)
            if rider.batch is not None:
                rider.batch.aboard -= 1


def _copy_of(exc: Exception) -> Exception:
    """Return an exception of each rider's own: a traceback is added to where it is raised."""
    copied = copy.copy(exc)
    copied.__cause__ = exc.__cause__
    return copied
