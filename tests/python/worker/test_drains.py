"""With ``wait=False`` a worker runs all that can run, and then ends."""

from __future__ import annotations

import asyncio
import datetime
import random
from typing import TYPE_CHECKING

import pytest

from procrastinate import App, utils
from procrastinate.rpc import wire

from .conftest import Database, Drain

if TYPE_CHECKING:
    from procrastinate.jobs import JobDeferrer
    from procrastinate.types import JSONDict

NEVER = 1000.0


@pytest.mark.parametrize("concurrency", [1, 2, 10])
async def test_jobs_of_one_lock_are_all_run_whatever_the_concurrency(
    app: App, database: Database, drain: Drain, concurrency: int
) -> None:
    order: list[int] = []

    @app.task(name="t", lock="shared")
    async def task(n: int) -> None:
        await asyncio.sleep(0)
        order.append(n)

    arguments: list[JSONDict] = [{"n": n} for n in range(10)]
    await task.batch_defer_async(*arguments)
    await drain(concurrency=concurrency, fetch_job_polling_interval=NEVER)
    assert order == list(range(10))
    assert await database.statuses() == ["succeeded"] * 10


@pytest.mark.parametrize("concurrency", [4, 20, 50])
async def test_jobs_of_some_locks_are_all_run_though_one_lane_reports_while_the_other_looks(
    app: App, database: Database, drain: Drain, concurrency: int
) -> None:
    @app.task(name="t")
    async def task(n: int) -> None:
        await asyncio.sleep(0)

    for lock in range(5):
        arguments: list[JSONDict] = [{"n": n} for n in range(20)]
        await task.configure(lock=str(lock)).batch_defer_async(*arguments)
    await drain(concurrency=concurrency, fetch_job_polling_interval=NEVER)
    assert await database.statuses() == ["succeeded"] * 100


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_jobs_unblock_retry_or_defer_is_run_before_the_worker_ends(
    app: App, database: Database, drain: Drain, seed: int
) -> None:
    chance = random.Random(seed)

    def one_of_many() -> JobDeferrer:
        return app.configure_task(
            chance.choice(["async", "sync"]),
            lock=chance.choice([None, "a", "b"]),
            priority=chance.randrange(3),
        )

    def falls_out(depth: int) -> bool:
        if chance.random() < 0.2:
            raise ValueError
        return depth > 0 and chance.random() < 0.7

    @app.task(name="async", retry=True)
    async def _(depth: int) -> None:
        await asyncio.sleep(0)
        if falls_out(depth):
            await one_of_many().defer_async(depth=depth - 1)

    @app.task(name="sync", retry=True)
    def _(depth: int) -> None:
        if falls_out(depth):
            one_of_many().defer(depth=depth - 1)

    for n in range(40):
        await one_of_many().defer_async(depth=n % 4)
    await drain(concurrency=10, fetch_job_polling_interval=NEVER)
    assert set(await database.statuses()) == {"succeeded"}


async def test_a_retry_at_once_is_run_though_the_clock_here_is_ahead(
    app: App, database: Database, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []

    @app.task(name="t", retry=2)
    async def task() -> None:
        ran.append(1)
        if len(ran) < 3:
            raise ValueError

    job_id = await task.defer_async()
    ahead = utils.utcnow() + datetime.timedelta(hours=1)
    monkeypatch.setattr(utils, "utcnow", lambda: ahead)
    await drain(fetch_job_polling_interval=NEVER)
    assert (await database.status(job_id), len(ran)) == ("succeeded", 3)


async def test_a_job_whose_lock_another_worker_holds_is_left(
    app: App, database: Database, drain: Drain
) -> None:
    @app.task(name="t")
    async def task() -> None: ...

    held = await task.configure(lock="l").defer_async()
    behind = await task.configure(lock="l").defer_async()
    free = await task.configure(lock="m").defer_async()
    other = await app.connector.call_async(wire.register_worker_v2())
    await app.connector.call_async(wire.fetch_jobs_v1(worker_id=other, queues=None, limit=1))
    await drain(concurrency=10)
    assert await database.status(held) == "doing"
    assert await database.status(behind) == "todo"
    assert await database.status(free) == "succeeded"
