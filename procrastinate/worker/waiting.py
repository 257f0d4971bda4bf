"""How the parts of a worker wait: for an event or a deadline, whichever is first."""

from __future__ import annotations

import asyncio
import contextlib


async def event_or_deadline(event: asyncio.Event, seconds: float | None) -> None:
    """Return when the event is set, or after so many seconds; None is no deadline."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def backoff(attempt: int, *, first: float, most: float) -> float:
    """Return the seconds to wait before a further attempt: doubled each time, and bounded."""
    # The exponent is bounded first: an outage may last for days.
    return min(first * 2.0 ** max(0, min(attempt, 30)), most)
