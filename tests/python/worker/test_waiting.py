"""How the parts of a worker wait, and are ended."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from procrastinate import patience
from procrastinate.worker import waiting


async def test_a_task_that_drops_a_cancellation_is_cancelled_again() -> None:
    dropped = asyncio.Event()

    async def stubborn() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        dropped.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(stubborn())
    await asyncio.wait([task], timeout=0)

    await asyncio.wait_for(waiting.cancel_until_done([task]), timeout=30)

    assert dropped.is_set()
    assert task.cancelled()


async def test_tasks_that_have_ended_are_not_waited_for() -> None:
    async def ended() -> None: ...

    task = asyncio.create_task(ended())
    await task

    await asyncio.wait_for(waiting.cancel_until_done([task]), timeout=30)
    await asyncio.wait_for(waiting.cancel_until_done([]), timeout=30)


@pytest.mark.parametrize(
    ("attempt", "seconds"),
    [(-1, 0.5), (0, 0.5), (1, 1.0), (2, 2.0), (30, 100.0), (1_000_000, 100.0)],
)
def test_a_pause_is_doubled_with_each_attempt_and_bounded(attempt: int, seconds: float) -> None:
    assert waiting.backoff(attempt, first=0.5, most=100.0) == seconds


def test_a_pause_reaches_a_bound_that_is_far_away() -> None:
    pauses = [waiting.backoff(attempt, first=1.0, most=2.0**40) for attempt in (29, 30, 31)]
    assert pauses == [2.0**29, 2.0**30, 2.0**30]


async def test_after_an_answer_in_time_nothing_is_cancelled_any_more() -> None:
    async def answer() -> str:
        return "here"

    task = asyncio.current_task()
    assert task is not None
    assert await patience.within(0, answer()) == "here"
    await waiting.event_or_deadline(asyncio.Event(), 0)  # the alarm would go off first
    assert task.cancelling() == 0


async def test_whoever_waits_for_an_answer_that_is_late_can_still_be_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "CANCEL_AGAIN", 1000)
    was_late = asyncio.Event()

    async def deaf_once() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        was_late.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(patience.within(0, deaf_once()))
    await was_late.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_answer_may_be_waited_for_by_one_who_was_cancelled_before() -> None:
    was_late: list[bool] = []

    async def last_words() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            with pytest.raises(TimeoutError):
                await patience.within(0, asyncio.Event().wait())
            was_late.append(True)
            raise

    task = asyncio.create_task(last_words())
    await asyncio.wait([task], timeout=0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert was_late == [True]
