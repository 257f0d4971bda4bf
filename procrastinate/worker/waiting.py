"""How the parts of a worker wait: for an event or a deadline, whichever is first."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from procrastinate import patience

if TYPE_CHECKING:
    from collections.abc import Iterable


async def event_or_deadline(event: asyncio.Event, seconds: float | None) -> None:
    """Return when the event is set, or after so many seconds; None is no deadline."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def backoff(attempt: int, *, first: float, most: float) -> float:
    """Return the seconds to wait before a further attempt: doubled each time, and bounded."""
    # The exponent is bounded first: an outage may last for days.
    return min(first * 2.0 ** max(0, min(attempt, 30)), most)


async def cancel_until_done(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """
    Cancel tasks, and return when all of them have ended.

    Once is not always enough: ``asyncio.wait_for`` before Python 3.12, which psycopg waits
    with, drops a cancellation that comes together with what it waits for.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=patience.CANCEL_AGAIN)
