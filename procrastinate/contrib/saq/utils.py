"""SAQ's small words: its clock, its units, its delays."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def now() -> int:
    """Return the time as milliseconds since the epoch."""
    return int(time.time() * 1000)


def now_seconds() -> float:
    """Return the time as seconds since the epoch."""
    return time.time()


def uuid1() -> str:
    """Return a key that no other job has."""
    return str(uuid.uuid1())


def millis(s: float) -> float:
    """Return seconds as milliseconds."""
    return s * 1000


def seconds(ms: float) -> float:
    """Return milliseconds as seconds."""
    return ms / 1000


def exponential_backoff(
    attempts: int,
    base_delay: float,
    max_delay: float | None = None,
    jitter: bool = True,
) -> float:
    """
    Return the delay after so many attempts, in the unit of ``base_delay``.

    Parameters
    ----------
    attempts
        Attempts that were made, 1 after the first.
    base_delay
        The delay after the first attempt; it doubles with each one more.
    max_delay
        No delay is longer.
    jitter
        Whether the delay is any time up to the one that was computed.
    """
    delay = base_delay * 2.0 ** max(attempts - 1, 0)
    if max_delay is not None:
        delay = min(delay, max_delay)
    return random.uniform(0, delay) if jitter else delay  # noqa: S311 (nobody guesses it)


async def cancel_tasks(tasks: Iterable[asyncio.Task[Any]], timeout: float | None = 1.0) -> bool:
    """
    Cancel tasks and wait for them; return whether all ended in time.

    Parameters
    ----------
    tasks
        What to cancel.
    timeout
        How long to wait, in seconds; None: as long as it takes.
    """
    cancelled = list(tasks)
    for task in cancelled:
        task.cancel()
    if not cancelled:
        return True
    _, pending = await asyncio.wait(cancelled, timeout=timeout)
    return not pending
