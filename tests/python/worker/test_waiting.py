"""How the parts of a worker wait, and are ended."""

from __future__ import annotations

import asyncio
import contextlib

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
