"""
Jobs that never wait share an asyncio task: one begins when the one before has ended.

A task costs more than all else that Python does for a job that does next to nothing. Whether a
job will wait is known when it does: the turn of the loop then ends with the job under way. That
task is the job's own from there on, and what is left begins elsewhere: docs/decisions/0138.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from procrastinate.worker.running import RunningJob

#: Of the asyncio tasks that run jobs. To make one up for each costs half a microsecond.
TASK_NAME = "procrastinate job"


def new_task(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Make an asyncio task, the way that the user wants if there is one."""
    loop = asyncio.get_running_loop()
    if loop.get_task_factory() is not None:
        return loop.create_task(coroutine)
    return asyncio.Task(coroutine, loop=loop, name=TASK_NAME)


class Kind(Protocol):
    """What jobs of one task have in common."""

    is_alone: bool
    """They need tasks of their own: they wait, or leave something behind in a task."""


class SharedTask:
    """
    Runs jobs one after the other in one turn of the loop, as long as none of them waits.

    Parameters
    ----------
    begin
        Returns what is to be awaited for a job.
    end
        Takes what it returned or raised.
    begin_again
        Takes the jobs that were left, in their order.
    """

    def __init__(
        self,
        begin: Callable[[RunningJob], Awaitable[Any]],
        end: Callable[[RunningJob, BaseException | None], None],
        begin_again: Callable[[RunningJob, Any], None],
    ) -> None:
        self._begin = begin
        self._end = end
        self._begin_again = begin_again
        self._left: collections.deque[tuple[RunningJob, Kind]] = collections.deque()
        self._task: asyncio.Task[None] | None = None
        self._kind: Kind | None = None
        """Of the job that runs, or ran last."""

    def add(self, running: RunningJob, kind: Kind) -> None:
        """Take a job; it begins with the loop's next turn."""
        self._left.append((running, kind))
        if self._task is None:
            self._task = new_task(self._run())
            # Right behind the first step of the task.
            asyncio.get_running_loop().call_soon(self._go_on)

    async def _run(self) -> None:
        task = self._task
        assert task is not None  # It is this one.
        clean = contextvars.copy_context()
        while self._left:
            running, self._kind = self._left.popleft()
            running.run = task
            try:
                running.returned = await self._begin(running)
            except BaseException as exc:  # Also SystemExit: the worker survives.
                self._end(running, exc)
            else:
                self._end(running, None)
            if self._task is not task:
                return  # It waited, and this task was its own since.
            if contextvars.copy_context() != clean:
                self._kind.is_alone = True
                return
            if task.cancelling():
                return  # The job did not hear it, and the next one must not.

    def _go_on(self) -> None:
        task, self._task = self._task, None
        assert task is not None  # It was made together with this call.
        if not task.done() and self._kind is not None:
            self._kind.is_alone = True
        left, self._left = self._left, collections.deque()
        for running, kind in left:
            self._begin_again(running, kind)
