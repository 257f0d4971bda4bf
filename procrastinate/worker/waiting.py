"""How the parts of a worker wait: for an event or a deadline, whichever is first."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

T = TypeVar("T")

#: Seconds after which a task that was cancelled, and goes on, is cancelled once more.
CANCEL_AGAIN = 0.5


async def event_or_deadline(event: asyncio.Event, seconds: float | None) -> None:
    """Return when the event is set, or after so many seconds; None is no deadline."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def backoff(attempt: int, *, first: float, most: float) -> float:
    """Return the seconds to wait before a further attempt: doubled each time, and bounded."""
    # The exponent is bounded first: an outage may last for days.
    return min(first * 2.0 ** max(0, min(attempt, 30)), most)


async def within(seconds: float, answer: Awaitable[T]) -> T:
    """
    Return what is awaited, or raise TimeoutError after so many seconds.

    Unlike :func:`asyncio.timeout` it cancels until it is heard: psycopg, cancelled once, asks
    the server to cancel too, and waits for what a server that is gone never says.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # Only a task awaits.
    before, fired = task.cancelling(), 0
    alarm: asyncio.TimerHandle

    def fire() -> None:
        nonlocal alarm, fired
        fired += 1
        task.cancel()
        alarm = loop.call_later(CANCEL_AGAIN, fire)

    alarm = loop.call_later(seconds, fire)
    try:
        return await answer
    except asyncio.CancelledError:
        others = task.cancelling() - fired - before
        if fired and not others:
            raise TimeoutError(f"no answer within {seconds:g} s") from None
        raise
    finally:
        alarm.cancel()
        for _ in range(fired):
            task.uncancel()


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
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN)
