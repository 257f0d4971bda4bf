"""Whether the database answers: noticed by one part of the worker, and told to the others."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, TypeVar

from procrastinate import exceptions, patience
from procrastinate.worker import waiting

if TYPE_CHECKING:
    from procrastinate.connector import Line
    from procrastinate.rpc.call import Call
    from procrastinate.worker.worker import Worker

#: Seconds between attempts: the first, and the most while it lasts.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0

T = TypeVar("T")


class Outage:
    """
    A time in which calls fail because the database can't answer.

    Parameters
    ----------
    worker
        Who suffers from it.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._over = asyncio.Event()
        self._since: float | None = None
        self._inquiry = asyncio.Lock()

    async def call(
        self, call: Call[T], *, timeout: float | None = None, line: Line | None = None
    ) -> T:
        """
        Send a call, over a line if one is given, and wait as long as one may wait.

        Raises
        ------
        exceptions.DatabaseUnavailable
            There was none: what was asked for may have been done.
        """
        sent = (line or self._worker.app.connector).call_async(call)
        return await patience.answer_to(sent, turn=self._inquiry, line=line, timeout=timeout)

    def begin(self, exc: exceptions.DatabaseUnavailable) -> None:
        """A call failed; said once for all calls until one succeeds."""
        self._over.clear()
        if self._since is not None:
            return
        self._since = time.monotonic()
        self._worker.logger.warning(
            "The database does not answer: %r. Trying again until it does",
            exc.__cause__ or exc,
            extra=self._worker.log_extra("database_unavailable"),
        )

    def end(self) -> None:
        """A call succeeded: whoever waits tries again, and what was lost is looked for."""
        self._over.set()
        if self._since is None:
            return
        seconds, self._since = time.monotonic() - self._since, None
        self._worker.logger.info(
            "The database answers again, after %.1f s",
            seconds,
            extra=self._worker.log_extra("database_available"),
        )
        # An exchange whose answer was lost may have claimed jobs that nobody here knows.
        self._worker.heartbeat.look_now()
        self._worker.housekeeping.begin_now()
        self._worker.claims.wake()

    async def pause(self, attempt: int) -> None:
        """Wait before a further attempt, or until somebody else's succeeded."""
        self._over.clear()
        seconds = waiting.backoff(attempt, first=FIRST_PAUSE, most=LONGEST_PAUSE)
        # Not all workers at once when the database is back.
        seconds *= random.uniform(0.5, 1)  # noqa: S311 (nobody must not guess it)
        await waiting.event_or_deadline(self._over, seconds)
