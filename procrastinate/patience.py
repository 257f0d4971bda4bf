"""How long to wait for an answer, and how to find out that none will come."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, TypeVar

from procrastinate import exceptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from procrastinate.connector import Line

#: Seconds after which a call that has no answer is taken for lost. A network that fails says
#: nothing; a call that waits for somebody's transaction may take long, and is made again then.
ANSWER_TIMEOUT = 60.0

#: Seconds without an answer after which it is asked whether one will come; doubled each time.
DOUBT_AFTER = 2.0

#: Seconds that it may take to find that out.
INQUIRY_TIMEOUT = 5.0

#: Seconds after which a task that was cancelled, and goes on, is cancelled once more.
CANCEL_AGAIN = 0.5

T = TypeVar("T")


async def answer_to(
    sent: Awaitable[T],
    *,
    turn: asyncio.Lock,
    line: Line | None = None,
    timeout: float | None = None,
) -> T:
    """
    Return the answer to a call, waited for as long as there may be one.

    Parameters
    ----------
    sent
        The call.
    turn
        Held by whoever asks about a call: that takes a connection, perhaps from a server that
        has few left.
    line
        What it is sent over, if that can tell whether an answer will come.
    timeout
        Seconds to wait at most, instead of :data:`ANSWER_TIMEOUT`.

    Raises
    ------
    exceptions.DatabaseUnavailable
        There was no answer: what was asked for may have been done.
    """

    async def is_lost(line: Line) -> bool:
        async with turn:
            try:
                return await within(INQUIRY_TIMEOUT, line.is_lost())
            except (TimeoutError, exceptions.ConnectorException):
                return False  # Nothing is known.

    asks = None if line is None else functools.partial(is_lost, line)
    try:
        return await within(timeout or ANSWER_TIMEOUT, sent, is_lost=asks)
    except TimeoutError as exc:
        raise exceptions.DatabaseUnavailable from exc


async def within(
    seconds: float,
    answer: Awaitable[T],
    *,
    is_lost: Callable[[], Awaitable[bool]] | None = None,
) -> T:
    """
    Return what is awaited, or raise TimeoutError after so many seconds.

    It is raised sooner if ``is_lost``, which is asked after :data:`DOUBT_AFTER` and now and then
    from there on, says that no answer will come.

    Unlike :func:`asyncio.timeout` it cancels until it is heard: psycopg, cancelled once, asks
    the server to cancel too, and waits for what a server that is gone never says.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # Only a task awaits.
    before, fired = task.cancelling(), 0
    why = ""
    pending: list[asyncio.TimerHandle | asyncio.Task[None]] = []

    def fire() -> None:
        nonlocal fired
        fired += 1
        task.cancel()
        pending.append(loop.call_later(CANCEL_AGAIN, fire))

    async def ask(is_lost: Callable[[], Awaitable[bool]]) -> None:
        nonlocal why
        pause = DOUBT_AFTER
        while not await is_lost():
            await asyncio.sleep(pause)
            pause *= 2
        why = "the connection is dead: the server is not at work for it"
        fire()

    def doubt() -> None:
        assert is_lost is not None  # Or there would be no doubt.
        pending.append(loop.call_later(seconds - DOUBT_AFTER, fire))
        pending.append(loop.create_task(ask(is_lost)))

    # One timer for all that is answered in time.
    if is_lost is None or seconds <= DOUBT_AFTER:
        pending.append(loop.call_later(seconds, fire))
    else:
        pending.append(loop.call_later(DOUBT_AFTER, doubt))
    try:
        return await answer
    except asyncio.CancelledError:
        others = task.cancelling() - fired - before
        if fired and not others:
            raise TimeoutError(why or f"no answer within {seconds:g} s") from None
        raise
    finally:
        for each in pending:
            each.cancel()
        for _ in range(fired):
            task.uncancel()
