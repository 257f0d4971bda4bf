"""Known faults of SAQ that its interface does not have here, and jobs of either interface."""

from __future__ import annotations

import asyncio
import datetime
import json
import time
from typing import Any

import psycopg
import psycopg.conninfo
import pytest

import procrastinate
from procrastinate import exceptions
from procrastinate.contrib import saq
from procrastinate.contrib.saq.queue.postgres import PostgresQueue
from procrastinate.job_context import JobContext
from procrastinate.rpc import wire
from tests.python.contrib_saq.conftest import PATIENCE, Work, add, again, drain

WAITING = """
    select 1 from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'
"""


async def test_a_job_never_begins_before_its_fraction_of_a_second(
    queue: PostgresQueue, work: Work
) -> None:
    begun: list[float] = []

    async def f(ctx: Any) -> None:
        begun.append(time.time())

    await work(queue, ("f", f))
    wanted = time.time() + 0.6
    await queue.apply("f", scheduled=wanted)

    assert wanted <= begun[0] < wanted + PATIENCE


async def abandoned(queue: PostgresQueue, conn: psycopg.Connection) -> None:
    """Let a worker claim all jobs and die."""
    call = queue.app.connector.call_async
    worker_id = await call(
        wire.register_worker_v2(name="dead", queues=["default"], description={})
    )
    await call(
        wire.fetch_jobs_v1(worker_id=worker_id, queues=["default"], limit=10, marks=None)
    )
    conn.execute(
        "update procrastinate_workers set last_heartbeat = now() - interval '1 minute'"
    )
    conn.execute(
        "update procrastinate_doing set deadline_at = now() - interval '1 s'"
        " where deadline_at is not null"
    )
    conn.commit()


async def test_a_sweep_ends_what_a_dead_worker_can_not_and_goes_by_the_databases_clock(
    queue: PostgresQueue, conn: psycopg.Connection
) -> None:
    await queue.enqueue("f", key="once", timeout=2)
    await queue.enqueue("f", key="twice", timeout=2, retries=2)
    await queue.enqueue("f", key="endless", timeout=0)
    await abandoned(queue, conn)

    swept = await queue.sweep()

    assert sorted(swept) == ["once", "twice"]
    assert [job.status for job in await queue.jobs(["once", "twice", "endless"]) if job] == [
        saq.Status.FAILED,
        saq.Status.QUEUED,
        saq.Status.ACTIVE,
    ]
    assert await queue.sweep() == []


async def test_jobs_of_one_interface_run_in_workers_of_the_other(
    queue: PostgresQueue, dsn: str
) -> None:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn))

    @app.task(name="add", pass_context=True, ttl=0)
    async def native(context: JobContext, *, a: int, b: int) -> int:
        assert context.job.options is not None
        return a + b + 100

    async with app.open_async():
        await queue.enqueue("add", key="from saq", a=1, b=2)
        await app.run_worker_async(wait=False, install_signal_handlers=False)
        job_id = await native.defer_async(a=5, b=6)

        await drain(queue, add)

        assert (await again(queue, "from saq")).result == 103
        assert await app.job_manager.get_result_async(job_id) == 11
    job = await again(queue, f"procrastinate:{job_id}")
    assert (job.key, job.result, job.function) == (f"procrastinate:{job_id}", 11, "add")


async def test_a_dump_that_writes_bytes_of_json_is_used(dsn: str) -> None:
    def dump(value: Any) -> bytes:
        return json.dumps(value, default=str).encode()

    queue = PostgresQueue.from_url(dsn, dump=dump, load=json.loads, min_size=1)
    await queue.connect()
    day = datetime.date(2024, 5, 6)
    seen: list[Any] = []

    async def f(ctx: Any, day: str) -> Any:
        seen.append(day)
        return datetime.date(2024, 5, 7)

    await queue.enqueue("f", key="k", day=day)
    await drain(queue, ("f", f))

    assert seen == ["2024-05-06"]
    assert (await again(queue, "k")).result == "2024-05-07"
    await queue.disconnect()


async def test_a_queue_installs_the_schema_where_there_is_none(empty_dsn: str) -> None:
    queue = PostgresQueue.from_url(empty_dsn, min_size=1)

    await queue.connect()
    await queue.connect()

    assert await queue.enqueue("f") is not None
    await queue.disconnect()


async def test_a_queue_that_finds_the_schema_being_installed_waits_for_it(
    empty_dsn: str,
) -> None:
    queue = PostgresQueue.from_url(empty_dsn, min_size=1)
    connect = psycopg.AsyncConnection[Any].connect
    async with await connect(empty_dsn) as other, await connect(empty_dsn) as looks:
        await looks.set_autocommit(True)
        await other.execute(queue.app.schema_manager.get_schema())

        connecting = asyncio.create_task(queue.connect())
        async with asyncio.timeout(PATIENCE):
            while not await (await looks.execute(WAITING)).fetchone():
                pass  # each look is a round trip
        await other.commit()
        await connecting

    assert await queue.enqueue("f") is not None
    await queue.disconnect()


async def test_a_schema_that_can_not_be_installed_is_an_error(empty_dsn: str) -> None:
    dsn = psycopg.conninfo.make_conninfo(
        empty_dsn, options="-c default_transaction_read_only=on"
    )
    queue = PostgresQueue.from_url(dsn, min_size=1)

    try:
        with pytest.raises(exceptions.ConnectorException):
            await queue.connect()
    finally:
        await queue.disconnect()


async def test_a_queue_that_is_not_connected_may_be_disconnected(
    queue: PostgresQueue, dsn: str
) -> None:
    await queue.disconnect()
    await queue.disconnect()
    await PostgresQueue.from_url(dsn).disconnect()

    await queue.connect()
    assert await queue.enqueue("f") is not None


async def test_a_pool_of_the_callers_is_opened_and_closed_if_that_is_wanted(dsn: str) -> None:
    from psycopg_pool import AsyncConnectionPool

    pool = AsyncConnectionPool[Any](dsn, min_size=1, open=False)
    queue = PostgresQueue(pool=pool, manage_pool_lifecycle=True)

    await queue.connect()
    assert await queue.enqueue("f") is not None
    await queue.disconnect()

    assert pool.closed


async def test_a_pool_of_the_callers_stays_open(dsn: str) -> None:
    from psycopg_pool import AsyncConnectionPool

    async with AsyncConnectionPool[Any](dsn, min_size=1, open=False) as pool:
        queue = PostgresQueue(pool=pool)
        await queue.connect()
        assert await queue.enqueue("f", key="k") is not None
        await queue.disconnect()

        async with pool.connection() as connection:
            cursor = await connection.execute("select key from procrastinate_jobs")
            assert await cursor.fetchall() == [("k",)]
