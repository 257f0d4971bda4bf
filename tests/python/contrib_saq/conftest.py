"""A queue of SAQ's on a database of the test's own, and workers that run its jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from procrastinate.contrib import saq
from procrastinate.contrib.saq.queue.postgres import PostgresQueue

#: Seconds after which a test that waits has failed. No test takes so long.
PATIENCE = 20.0


@pytest.fixture
async def queue(dsn: str) -> AsyncIterator[PostgresQueue]:
    """A queue, connected."""
    queue = PostgresQueue.from_url(dsn, min_size=1, max_size=6)
    await queue.connect()
    yield queue
    await queue.disconnect()


Work = Callable[..., Awaitable[saq.Worker[Any]]]


@pytest.fixture
async def work() -> AsyncIterator[Work]:
    """Let a worker run in the background; it is stopped at the end of the test."""
    runs: list[tuple[saq.Worker[Any], asyncio.Task[None]]] = []

    async def start(queue: saq.Queue, *functions: Any, **options: Any) -> saq.Worker[Any]:
        worker: saq.Worker[Any] = saq.Worker(queue, functions, **options)
        runs.append((worker, asyncio.create_task(worker.start())))
        return worker

    yield start
    async with asyncio.timeout(PATIENCE):
        for worker, run in runs:
            await worker.stop()
            await run


async def drain(queue: saq.Queue, *functions: Any, **options: Any) -> saq.Worker[Any]:
    """Run a worker until nothing is left that can run now."""
    worker: saq.Worker[Any] = saq.Worker(
        queue, functions, burst=True, dequeue_timeout=0.01, **options
    )
    async with asyncio.timeout(PATIENCE):
        await worker.start()
    return worker


async def add(ctx: Any, *, a: int, b: int) -> int:
    """A task."""
    return a + b


async def fail(ctx: Any) -> None:
    """A task that fails."""
    raise ValueError("no luck")


async def again(queue: saq.Queue, key: str) -> saq.Job:
    """Read a job anew."""
    job = await queue.job(key)
    assert job is not None
    return job
