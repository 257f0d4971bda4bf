"""SAQ on PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import saq
import tally


@contextlib.asynccontextmanager
async def connected() -> AsyncGenerator[saq.Queue]:
    queue = saq.Queue.from_url("postgresql://")
    await queue.connect()
    try:
        yield queue
    finally:
        await queue.disconnect()


def group(number: int, settings: tally.Settings) -> dict[str, Any]:
    return {"group_key": f"lock {number % settings['locks']}"} if settings.get("locks") else {}


async def install(settings: tally.Settings) -> tally.Answer:
    async with connected():
        return {}


async def fill(settings: tally.Settings) -> tally.Answer:
    async with connected() as queue:
        await tally.clients(
            settings["jobs"],
            20,
            lambda number: queue.enqueue("task", n=number, **group(number, settings)),
        )
    return {}


async def defer(settings: tally.Settings) -> tally.Answer:
    async with connected() as queue:
        return await tally.defer(settings, lambda number: queue.enqueue("task", n=number))


async def trickle(settings: tally.Settings) -> tally.Answer:
    async with connected() as queue:
        return await tally.trickle(settings, lambda number: queue.enqueue("task", n=number))


async def work(settings: tally.Settings) -> tally.Answer:
    seen = tally.Tally(settings)

    async def asynchronous(ctx: object, *, n: int) -> None:
        seen.run(n)

    def synchronous(ctx: object, *, n: int) -> None:
        seen.run(n)

    task = asynchronous if settings["kind"] == "async" else synchronous
    async with connected() as queue:
        worker = saq.Worker(
            queue, functions=[("task", task)], concurrency=settings["concurrency"]
        )
        seen.begin()
        running = asyncio.create_task(worker.start())
        await seen.wait()
        # a job is finished after it has run, and stop() would put such a one back
        for _ in range(100):
            if not await queue.count("active"):
                break
            await asyncio.sleep(0.05)
        await worker.stop()
        await asyncio.wait([running])
    return seen.answer()


async def left(settings: tally.Settings) -> tally.Answer:
    async with connected() as queue:
        return {"left": await queue.count("incomplete")}


tally.main(install=install, fill=fill, defer=defer, trickle=trickle, work=work, left=left)
