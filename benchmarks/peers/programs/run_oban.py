"""oban-py, on uvloop, which its package brings."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, Sequence

import tally
import uvloop
from oban import Job, Oban, worker
from oban.schema import install as install_schema

DSN = f"dbname={os.environ['PGDATABASE']}"  # the rest is in libpq's variables


@contextlib.asynccontextmanager
async def connected(connections: int = 2) -> AsyncGenerator[Oban]:
    """One that starts no queue: it only inserts."""
    pool = await Oban.create_pool(DSN, min_size=connections, max_size=connections)
    async with pool:
        yield Oban(pool=pool)


seen: tally.Tally


@worker(queue="q")
class Task:
    async def process(self, job: Job) -> None:
        seen.run(job.args["n"])


def job_of(number: int) -> Job:
    return Task.new({"n": number})


async def install(settings: tally.Settings) -> tally.Answer:
    pool = await Oban.create_pool(DSN)
    async with pool:
        await install_schema(pool)
    return {}


async def fill(settings: tally.Settings) -> tally.Answer:
    async with connected() as oban:
        for part in tally.numbers(settings["jobs"], 1_000):
            await oban.enqueue_many([job_of(number) for number in part])
    return {}


async def defer(settings: tally.Settings) -> tally.Answer:
    async with connected(min(20, settings["concurrent"])) as oban:

        async def many(part: Sequence[int]) -> None:
            await oban.enqueue_many([job_of(number) for number in part])

        return await tally.defer(settings, lambda number: oban.enqueue(job_of(number)), many)


async def trickle(settings: tally.Settings) -> tally.Answer:
    async with connected() as oban:
        return await tally.trickle(settings, lambda number: oban.enqueue(job_of(number)))


async def work(settings: tally.Settings) -> tally.Answer:
    global seen  # noqa: PLW0603 (a worker is a class, and has no arguments)
    seen = tally.Tally(settings)
    pool = await Oban.create_pool(DSN, min_size=10, max_size=20)
    async with pool:
        seen.begin()
        async with Oban(pool=pool, queues={"q": settings["concurrency"]}):
            await seen.wait()
    return seen.answer()


async def left(settings: tally.Settings) -> tally.Answer:
    pool = await Oban.create_pool(DSN)
    async with pool, pool.connection() as conn:
        cursor = await conn.execute("select count(*) from oban_jobs where state <> 'completed'")
        row = await cursor.fetchone()
    return {"left": row[0]}


tally.main(
    uvloop.run, install=install, fill=fill, defer=defer, trickle=trickle, work=work, left=left
)
