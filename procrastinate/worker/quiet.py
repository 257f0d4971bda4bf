"""
Whether the worker is to be notified: said to the database as it changes.

A transaction that notifies holds up all others that commit. So a busy worker says that it is
quiet: it looks by itself and need not be told. It keeps this promise: before it rests with a
free slot it takes its word back, asks which transactions may have gone by it, and fetches
again, and again as those end (docs/decisions/0073-quiet-notify.md).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol, TypeVar

from procrastinate import exceptions
from procrastinate.rpc import wire
from procrastinate.worker import waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from procrastinate.rpc import values
    from procrastinate.rpc.call import Call
    from procrastinate.worker.worker import Worker

T = TypeVar("T")

#: So many exchanges that brought a job, within so many seconds, make a worker a busy one. Not
#: those in a row: where all notify, few jobs come, and it would never find out that more could.
BUSY_AFTER = 10
BUSY_WITHIN = 0.5

#: Seconds without a free slot that make it a busy one as well.
FULL_FOR = 0.25

#: Looks in a row that find nothing, after which a quiet worker means to sleep: one may fall
#: between two jobs of many, and to take the word back and give it again are two writes.
EMPTY_LOOKS = 3

#: A quiet time was not worth its writes if it had fewer exchanges and was shorter (seconds).
WORTH_EXCHANGES = 50
WORTH_SECONDS = 10.0

#: Seconds that a worker has to have been told before it may be quiet: doubled by each quiet
#: time that was not worth it.
FIRST_PATIENCE = 0.1
MOST_PATIENCE = 60.0

#: Seconds between two looks at whether a transaction has ended: a part of what it has taken.
SOONEST_LOOK = 0.005
LATEST_LOOK = 1.0
LOOK_AFTER = 1 / 8


class Send(Protocol):
    """How a lane makes a call: False if it failed, which has been dealt with then."""

    async def __call__(
        self,
        call: Call[T],
        *,
        receive: Callable[[T], None],
        put_back: Callable[[], None],
    ) -> bool:
        """Make a call."""
        ...


class Quiet:
    """
    What the worker's row says of it, and what the worker owes for that.

    Parameters
    ----------
    worker
        Who is busy or sleeps.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._row: int | None = None
        """The row that all this is about: a new one is told of jobs."""
        self._is_quiet = False
        """Whether the row may say so: True where it is not known."""
        self._has_looked = False
        """Whether somebody may have gone by what the row said before, unknown to us."""
        self._since = 0.0
        self._exchanges = 0
        self._successes: deque[float] = deque(maxlen=BUSY_AFTER)
        self._empty = 0
        self._full_since: float | None = None
        self._patience = FIRST_PATIENCE
        self._writers: frozenset[values.Writer] = frozenset()
        self._watched_since = 0.0
        self._is_watching = asyncio.Event()
        self._never = asyncio.Event()

    @property
    def is_waiting(self) -> bool:
        """Whether some transaction has not ended that may not have seen what the row says."""
        return self._is_watching.is_set()

    def took(self, claimed: int, limit: int) -> None:
        """Take note of an exchange that asked for jobs."""
        self._exchanges += 1
        self._empty = 0 if claimed else self._empty + 1
        if claimed:
            self._successes.append(self._now())
        if claimed < limit:
            self._full_since = None

    def rest_when_full(self) -> float | None:
        """Return the seconds after which a worker without a free slot becomes quiet."""
        if self._is_quiet or self._worker.shutdown.requested:
            return None
        now = self._now()
        if self._full_since is None:
            self._full_since = now
        return max(self._full_since + FULL_FOR, self._since + self._patience) - now

    async def speak(self, send: Send) -> None:
        """Say that the worker is quiet, if it has become so."""
        self._know_row()
        if self._is_quiet or not self._is_busy():
            return
        # Known from here on, whether the answer comes or not: it may be so.
        self._is_quiet = True
        self._since, self._exchanges, self._empty = self._now(), 0, 0
        await send(self._say(quiet=True), receive=_nothing, put_back=_nothing_back)

    async def may_rest(self, send: Send) -> bool:
        """
        Whether the worker may rest, after a look that left slots free; else it has to look again.
        """
        self._know_row()
        if not self._worker.listen_notify:
            return True  # It polls, and needs no notification.
        if not self._worker.wait and self._worker.claims.is_idle:
            return True  # It ends, rather than sleep.
        if self._is_quiet:
            if self._empty < EMPTY_LOOKS:
                return False
            if not await send(
                self._say(quiet=False), receive=self._be_told, put_back=_nothing_back
            ):
                return False
            self._know_row()
        if not self._has_looked:
            await send(wire.list_writers_v1(), receive=self._look, put_back=_nothing_back)
            return False
        return True

    def doubt(self) -> None:
        """Another server may answer now, or one that has lost what was said last."""
        self._is_quiet = True
        self._empty = EMPTY_LOOKS

    async def watch(self) -> None:
        """Let the worker look whenever a transaction has ended that did not see what it said."""
        while True:
            await self._is_watching.wait()
            age = self._now() - self._watched_since
            seconds = min(max(age * LOOK_AFTER, SOONEST_LOOK), LATEST_LOOK)
            await waiting.event_or_deadline(self._never, seconds)
            try:
                await self._see_who_has_ended()
            except exceptions.DatabaseUnavailable as exc:
                self._worker.outage.begin(exc)

    async def _see_who_has_ended(self) -> None:
        watched = self._writers  # others may join them while the answer is under way
        there = await self._worker.outage.call(wire.list_writers_v1())
        if not watched - there:
            return
        # One that was prepared goes on without its session, until it is committed.
        prepared = frozenset(writer for writer in there if writer.pid is None)
        self._watch_for((self._writers - (watched - there)) | prepared)
        self._worker.claims.wake()

    def _watch_for(self, writers: frozenset[values.Writer]) -> None:
        self._writers = writers
        if writers:
            self._is_watching.set()
        else:
            self._is_watching.clear()

    def _know_row(self) -> None:
        row = self._worker.registration.worker_id
        if row != self._row:
            self._row = row
            self._is_quiet = self._has_looked = False
            self._since = self._now()

    def _is_busy(self) -> bool:
        if not self._worker.listen_notify:
            return True
        now = self._now()
        if now - self._since < self._patience:
            return False
        if self._full_since is not None and now - self._full_since >= FULL_FOR:
            return True
        return len(self._successes) == BUSY_AFTER and now - self._successes[0] <= BUSY_WITHIN

    def _say(self, *, quiet: bool) -> Call[None]:
        return wire.set_quiet_v1(worker_id=self._worker.registration.worker_id, quiet=quiet)

    def _be_told(self, _answer: None) -> None:
        now = self._now()
        was_worth_it = self._exchanges >= WORTH_EXCHANGES or now - self._since >= WORTH_SECONDS
        self._patience = (
            FIRST_PATIENCE if was_worth_it else min(self._patience * 2, MOST_PATIENCE)
        )
        self._is_quiet = self._has_looked = False
        self._since = now
        self._successes.clear()

    def _look(self, writers: frozenset[values.Writer]) -> None:
        self._has_looked = True
        self._watched_since = self._now()
        self._watch_for(writers)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _nothing(_answer: None) -> None:
    """Take nothing from an answer."""


def _nothing_back() -> None:
    """Nothing was taken away for the call."""
