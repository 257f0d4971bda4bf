"""The connector on aiopg."""

from __future__ import annotations

import asyncio
from typing import Any

import aiopg as driver
import psycopg
import pytest

from procrastinate import App, exceptions, jobs
from procrastinate.contrib import aiopg, psycopg2


async def test_nothing_works_before_it_is_open_and_after_it_is_closed(dsn: str) -> None:
    closed = aiopg.AiopgConnector(dsn=dsn)
    with pytest.raises(exceptions.AppNotOpen):
        await closed.execute_query_async("select 1")
    await closed.open_async()
    await closed.open_async()
    assert await closed.execute_query_one_async("select 1 as one") == {"one": 1}
    await closed.close_async()
    await closed.close_async()
    with pytest.raises(exceptions.AppNotOpen):
        _ = closed.pool


async def test_a_caller_who_gives_up_is_not_told_of_the_server(
    aiopg_connector: aiopg.AiopgConnector, conn: psycopg.Connection
) -> None:
    sleep = asyncio.create_task(aiopg_connector.execute_query_async("select pg_sleep(1000)"))
    sleeps = (
        "select 1 from pg_stat_activity "
        "where datname = current_database() and wait_event = 'PgSleep'"
    )
    async with asyncio.timeout(10):  # seconds; it takes milliseconds
        while not conn.execute(sleeps).fetchone():  # noqa: ASYNC110 (the server has no event for it)
            await asyncio.sleep(0)
    sleep.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sleep


async def test_jobs_are_deferred_run_and_told_of(
    aiopg_connector: aiopg.AiopgConnector, conn: psycopg.Connection
) -> None:
    """A worker on it: it listens, so that it does not wait for its next poll."""
    app = App(connector=aiopg_connector)
    ran: list[int] = []
    listening = asyncio.Event()

    @app.task(name="run")
    async def run(number: int) -> None:
        ran.append(number)
        if number == 2:
            worker.cancel()

    @app.task(name="first")
    async def first() -> None:
        listening.set()

    worker = asyncio.create_task(
        app.run_worker_async(install_signal_handlers=False, fetch_job_polling_interval=600)
    )
    await first.defer_async()
    await asyncio.wait_for(listening.wait(), 30)
    await run.batch_defer_async({"number": 1}, {"number": 2})
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(worker, 30)
    assert sorted(ran) == [1, 2]
    assert conn.execute(
        "select count(*) from procrastinate_jobs where status = 'succeeded'"
    ).fetchone() == (3,)


async def test_a_worker_on_a_pool_of_one_polls(dsn: str) -> None:
    app = App(connector=aiopg.AiopgConnector(dsn=dsn, maxsize=1))
    async with app.open_async():
        heard: list[str] = []

        async def hear(*, channel: str, payload: str) -> None:
            heard.append(channel)

        await app.connector.listen_notify(hear, ["any"])  # returns at once
        ran: list[int] = []

        @app.task(name="run")
        async def run(number: int) -> None:
            ran.append(number)
            if number < 3:
                await run.defer_async(number=number + 1)

        await run.defer_async(number=1)
        await app.run_worker_async(wait=False, install_signal_handlers=False)
        assert ran == [1, 2, 3]


async def test_a_queueing_lock_that_is_taken_is_told(
    aiopg_connector: aiopg.AiopgConnector,
) -> None:
    app = App(connector=aiopg_connector)
    task = app.configure_task("t", queueing_lock="ql")
    await task.defer_async()
    with pytest.raises(exceptions.AlreadyEnqueued, match="queueing lock ql"):
        await task.defer_async()


async def test_an_unknown_job_has_no_status(aiopg_connector: aiopg.AiopgConnector) -> None:
    with pytest.raises(exceptions.NoResult):
        await App(connector=aiopg_connector).job_manager.get_job_status_async(12345)
    with pytest.raises(exceptions.NoResult):
        await aiopg_connector.execute_query_one_async("select 1 where false")


async def test_errors_of_the_driver_are_ours(aiopg_connector: aiopg.AiopgConnector) -> None:
    with pytest.raises(exceptions.ConnectorException, match="Database error"):
        await aiopg_connector.execute_query_async("select 1/0")
    with pytest.raises(
        exceptions.ConnectorException,
        match="AiopgConnector does not support external connections",
    ):
        await (
            App(connector=aiopg_connector)
            .configure_task("t", connection=object())
            .defer_async()
        )


async def test_a_statement_that_the_server_cancels_is_no_cancellation_of_ours(
    aiopg_connector: aiopg.AiopgConnector,
) -> None:
    """aiopg says CancelledError, which a worker would take for the end of its own work."""
    with pytest.raises(exceptions.DatabaseUnavailable):
        await aiopg_connector.execute_query_async(
            "set statement_timeout = '10ms'; select pg_sleep(30)"
        )


async def test_a_pool_of_the_caller_s_is_used_and_left_open(dsn: str) -> None:
    async with driver.create_pool(dsn, enable_json=False, enable_hstore=False) as pool:
        app = App(connector=aiopg.AiopgConnector(dsn="not used"))
        async with app.open_async(pool):
            job = await app.configure_task("t").defer_async(a=1)
            (found,) = await app.job_manager.list_jobs_async(id=job)
            assert found.task_kwargs == {"a": 1}
        assert not pool.closed


async def test_what_on_connect_and_json_loads_are_given_is_called(dsn: str) -> None:
    connected: list[Any] = []

    async def on_connect(connection: Any) -> None:
        connected.append(connection)

    def loads(text: str) -> dict[str, str]:
        return {"read": text}

    app = App(connector=aiopg.AiopgConnector(dsn=dsn, on_connect=on_connect, json_loads=loads))
    async with app.open_async():
        job = await app.configure_task("t").defer_async(a=1)
        (found,) = await app.job_manager.list_jobs_async(id=job)
    assert found.task_kwargs == {"read": '{"a": 1}'}
    assert connected


def test_sync_code_has_a_psycopg2_connector_with_the_same_arguments(dsn: str) -> None:
    connector = aiopg.AiopgConnector(dsn=dsn, maxsize=2, minsize=1, timeout=3)
    app = App(connector=connector)
    with app.open():
        sync = connector.get_sync_connector()
        assert isinstance(sync, psycopg2.Psycopg2Connector)
        assert sync is connector.get_sync_connector()
        job = app.configure_task("t").defer(a=1)
        assert app.job_manager.get_job_status(job) is jobs.Status.TODO


async def test_sync_code_in_a_thread_shares_the_pool(
    aiopg_connector: aiopg.AiopgConnector,
) -> None:
    app = App(connector=aiopg_connector)
    assert aiopg_connector.get_sync_connector() is aiopg_connector
    job = await asyncio.to_thread(app.configure_task("t").defer, a=1)
    assert await app.job_manager.get_job_status_async(job) is jobs.Status.TODO


async def test_a_listening_connection_that_is_lost_is_told(
    aiopg_connector: aiopg.AiopgConnector, conn: psycopg.Connection
) -> None:
    listening = asyncio.Event()

    async def never(*, channel: str, payload: str) -> None:
        raise AssertionError(channel, payload)

    heard = asyncio.create_task(
        aiopg_connector.listen_notify(never, ["somewhere"], on_listening=listening.set)
    )
    await asyncio.wait_for(listening.wait(), 30)
    await asyncio.to_thread(
        conn.execute,
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
        " where pid <> pg_backend_pid() and datname = current_database()",
    )
    with pytest.raises(exceptions.DatabaseUnavailable):
        await asyncio.wait_for(heard, 30)
