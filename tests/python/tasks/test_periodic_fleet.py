"""Periodic tasks of several workers: restarts, locks, and who defers what."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from procrastinate import App, PsycopgConnector, periodic

if TYPE_CHECKING:
    import psycopg

START = int(datetime.datetime(2030, 1, 1, 12, tzinfo=datetime.UTC).timestamp())
MINUTE = 60
TASKS = 70


@pytest.fixture
async def app(dsn: str) -> AsyncIterator[App]:
    app = App(connector=PsycopgConnector(conninfo=dsn))
    async with app.open_async():
        yield app


async def defer_due(deferrer: periodic.PeriodicDeferrer, at: float) -> None:
    assert await deferrer.defer_jobs(deferrer.get_previous_tasks(at=at))


def ticks(conn: psycopg.Connection) -> list[tuple[int, int]]:
    """How many jobs there are of each tick, in minutes."""
    return conn.execute(
        "select ((args ->> 'timestamp')::bigint - %s) / 60, count(*) "
        "from procrastinate_jobs group by 1 order by 1",
        [START],
    ).fetchall()


async def test_none_of_many_tasks_vanishes_when_workers_are_restarted(
    app: App, conn: psycopg.Connection
) -> None:
    def tick(timestamp: int) -> None: ...

    for number in range(TASKS):
        app.periodic(cron="* * * * *")(app.task(name=f"t{number}")(tick))
    await defer_due(periodic.PeriodicDeferrer(app.periodic_registry), START + 5)

    restarted = periodic.PeriodicDeferrer(app.periodic_registry)
    await defer_due(restarted, START + 30)  # all of it has been deferred
    # while nobody ran, two ticks passed: the last is made good, by whoever comes first
    two = [periodic.PeriodicDeferrer(app.periodic_registry) for _ in range(2)]
    for minute in (2, 3):
        await asyncio.gather(*(defer_due(one, START + minute * MINUTE + 1) for one in two))

    assert ticks(conn) == [(0, TASKS), (2, TASKS), (3, TASKS)]


async def test_a_worker_that_lags_behind_defers_no_tick_again(
    app: App, conn: psycopg.Connection
) -> None:
    @app.periodic(cron="* * * * *")
    @app.task(name="t")
    def tick(timestamp: int) -> None: ...

    prompt, late = (periodic.PeriodicDeferrer(app.periodic_registry) for _ in range(2))
    await defer_due(prompt, START)
    await defer_due(late, START)
    for minute in (1, 2, 3):  # the other one's event loop is held up meanwhile
        await defer_due(prompt, START + minute * MINUTE)

    await defer_due(late, START + 3 * MINUTE)

    assert ticks(conn) == [(minute, 1) for minute in range(4)]


async def test_a_worker_that_lags_behind_makes_good_what_nobody_deferred(
    app: App, conn: psycopg.Connection
) -> None:
    @app.periodic(cron="* * * * *")
    @app.task(name="t")
    def tick(timestamp: int) -> None: ...

    late, started = (periodic.PeriodicDeferrer(app.periodic_registry) for _ in range(2))
    await defer_due(late, START)
    await defer_due(started, START + 3 * MINUTE)  # the last tick alone

    await defer_due(late, START + 3 * MINUTE)

    assert ticks(conn) == [(minute, 1) for minute in range(4)]


async def test_jobs_of_a_periodic_task_wait_for_their_lock_and_none_is_lost(
    app: App, conn: psycopg.Connection
) -> None:
    ran: list[int] = []

    @app.periodic(cron="* * * * *", lock="l")
    @app.task(name="t")
    async def task(timestamp: int) -> None:
        ran.append((timestamp - START) // MINUTE)

    await app.configure_task("blocker", lock="l").defer_async()
    blocker = await app.job_manager.fetch_job(None, await app.job_manager.register_worker())
    assert blocker is not None
    deferrer = periodic.PeriodicDeferrer(app.periodic_registry)
    for minute in range(4):
        await defer_due(deferrer, START + minute * MINUTE)

    # These have no ticks of their own: the deferrer's are in the future.
    app.periodic_registry.periodic_tasks.clear()
    await app.run_worker_async(wait=False, concurrency=10, install_signal_handlers=False)
    assert ran == []
    conn.execute("update procrastinate_jobs set status = 'succeeded' where status = 'doing'")
    await asyncio.gather(
        *(
            app.run_worker_async(wait=False, concurrency=10, install_signal_handlers=False)
            for _ in range(2)
        )
    )

    assert ran == [0, 1, 2, 3]


async def test_a_worker_defers_also_for_queues_that_it_does_not_serve(app: App) -> None:
    @app.periodic(cron="* * * * *")
    @app.task(name="t", queue="elsewhere")
    def task(timestamp: int) -> None: ...

    worker = asyncio.create_task(
        app.run_worker_async(queues=["here"], install_signal_handlers=False)
    )
    while not await app.job_manager.list_jobs_async(task="t"):
        assert not worker.done()
    worker.cancel()
    await asyncio.wait([worker])

    (job, *_) = await app.job_manager.list_jobs_async(task="t")
    assert (job.queue, job.status) == ("elsewhere", "todo")
