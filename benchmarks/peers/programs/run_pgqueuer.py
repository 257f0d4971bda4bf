"""pgqueuer, over asyncpg and on uvloop, both of which its package brings or recommends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import asyncpg
import tally
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

# The size of a batch that its documentation recommends for throughput.
BATCH = 100


@contextlib.asynccontextmanager
async def connected(connections: int = 1) -> AsyncGenerator[Queries]:
    if connections == 1:
        conn = await asyncpg.connect()
        yield Queries(AsyncpgDriver(conn))
        await conn.close()
    else:
        async with asyncpg.create_pool(min_size=connections, max_size=connections) as pool:
            yield Queries(AsyncpgPoolDriver(pool))


def payload(number: int) -> bytes:
    return str(number).encode()


async def many(queries: Queries, part: Sequence[int]) -> None:
    size = len(part)
    await queries.enqueue(["task"] * size, [payload(number) for number in part], [0] * size)


async def install(settings: tally.Settings) -> tally.Answer:
    async with connected() as queries:
        await queries.install()
    return {}


async def fill(settings: tally.Settings) -> tally.Answer:
    async with connected() as queries:
        for part in tally.numbers(settings["jobs"], 1_000):
            await many(queries, part)
    return {}


async def defer(settings: tally.Settings) -> tally.Answer:
    async with connected(min(20, settings["concurrent"])) as queries:
        return await tally.defer(
            settings,
            lambda number: queries.enqueue("task", payload(number)),
            lambda part: many(queries, part),
        )


async def trickle(settings: tally.Settings) -> tally.Answer:
    async with connected() as queries:
        return await tally.trickle(
            settings, lambda number: queries.enqueue("task", payload(number))
        )


async def work(settings: tally.Settings) -> tally.Answer:
    seen = tally.Tally(settings)
    concurrency = settings["concurrency"]
    conn = await asyncpg.connect()
    queue = PgQueuer(AsyncpgDriver(conn))
    if settings["kind"] == "async":

        @queue.entrypoint("task")
        async def _(job: Job) -> None:
            seen.run(int(job.payload or b""))
    else:

        @queue.entrypoint("task")
        async def _(job: Job) -> None:
            await asyncio.to_thread(seen.run, int(job.payload or b""))

    seen.begin()
    # it refuses fewer tasks at once than two batches
    running: asyncio.Task[Any] = asyncio.create_task(
        queue.run(batch_size=min(BATCH, concurrency), max_concurrent_tasks=2 * concurrency)
    )
    await seen.wait()
    queue.shutdown.set()
    await asyncio.wait([running])
    await conn.close()
    return seen.answer()


async def left(settings: tally.Settings) -> tally.Answer:
    async with connected() as queries:
        sizes = await queries.queue_size()
    return {"left": sum(size.count for size in sizes)}


tally.main(
    uvloop.run, install=install, fill=fill, defer=defer, trickle=trickle, work=work, left=left
)
