"""
The threads of sync tasks: they take calls, and tell the event loop of all that ended at once.

An executor's future costs a loop that is busy a wake-up, a callback and a task for each call.
Here the loop is woken once, however many calls have ended until it comes to look.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import queue
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import asyncio

#: Gets what a call returned, and what it raised, if it did.
OnEnd: TypeAlias = Callable[[Any, "BaseException | None"], None]


class Threads:
    """
    Calls functions, each in the first thread that is free.

    Parameters
    ----------
    loop
        Whose thread calls all methods, and where ends are told.
    size
        The most threads. One is started when all those that there are have something to do.
    name
        What their names begin with.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, size: int, name: str) -> None:
        self._loop = loop
        self._size = size
        self._name = name
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], OnEnd] | None]
        self._calls = queue.SimpleQueue()
        self._ended: collections.deque[tuple[OnEnd, Any, BaseException | None]]
        self._ended = collections.deque()
        self._is_loop_told = False
        self._is_closed = False
        self._under_way = 0
        self._threads: list[threading.Thread] = []
        _all.add(self)

    def call(self, function: Callable[[], Any], on_end: OnEnd) -> None:
        """Call a function soon; its end is told once, unless all is closed before."""
        self._under_way += 1
        self._calls.put((function, on_end))
        started = len(self._threads)
        if self._under_way > started and started < self._size:
            name = f"{self._name}_{started}"
            # A daemon: the interpreter would wait for one that has nothing to do, for ever.
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Let each thread end with its call; wait for none, and tell of none."""
        self._is_closed = True
        for _ in self._threads:
            self._calls.put(None)

    def join(self) -> None:
        """Wait until all calls have ended."""
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            function, on_end = call
            returned: Any = None
            raised: BaseException | None = None
            try:
                returned = function()
            except BaseException as exc:  # It is the call's end, not the thread's.
                raised = exc
            self._ended.append((on_end, returned, raised))
            del call, function, on_end, returned, raised  # not kept until the next one
            # If it was told and has not come to look yet, it will find this one, too.
            if not self._is_loop_told:
                self._is_loop_told = True
                with contextlib.suppress(RuntimeError):  # closed: nobody is left to be told
                    self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._is_loop_told = False  # first of all: what ends after the last look must be told
        while self._ended:
            on_end, returned, raised = self._ended.popleft()
            self._under_way -= 1
            if not self._is_closed:
                on_end(returned, raised)


_all: weakref.WeakSet[Threads] = weakref.WeakSet()


@atexit.register
def _join_all() -> None:
    """Let a program end when its calls have, as it does with the threads of an executor."""
    for threads in list(_all):
        threads.close()
        threads.join()
