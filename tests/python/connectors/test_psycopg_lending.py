"""Connections that were taken from a pool live."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import psycopg_pool
import psycopg_pool.base
import pytest

from procrastinate import PsycopgConnector, SyncPsycopgConnector, exceptions
from procrastinate.connectors import psycopg_lending
from procrastinate.rpc import decode, front, schema_free
from procrastinate.rpc.call import Call, Function

PATIENCE = 10.0


@pytest.fixture(autouse=True)
def no_second_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that pauses does so for longer than a test may take."""
    attempts: Any = psycopg_pool.base.AttemptWithBackoff
    monkeypatch.setattr(attempts, "INITIAL_DELAY", 1000.0)


def kill_all(conn: psycopg.Connection) -> None:
    conn.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )


async def test_a_pool_whose_connections_all_died_is_used_at_once(
    dsn: str, conn: psycopg.Connection
) -> None:
    connector = PsycopgConnector(conninfo=dsn, min_size=3, max_size=3, timeout=PATIENCE)
    await connector.open_async()
    try:
        kill_all(conn)
        for _ in range(3):
            assert await connector.call_async(schema_free.has_jobs_table())
    finally:
        await connector.close_async()


def test_so_is_a_sync_pool(dsn: str, conn: psycopg.Connection) -> None:
    connector = SyncPsycopgConnector(conninfo=dsn, min_size=3, max_size=3, timeout=PATIENCE)
    connector.open()
    try:
        connector.pool.wait()
        kill_all(conn)
        for _ in range(3):
            assert connector.call(schema_free.has_jobs_table())
    finally:
        connector.close()


async def test_a_connection_that_only_has_something_to_say_is_kept(dsn: str) -> None:
    pool: psycopg_pool.AsyncConnectionPool[Any] = psycopg_pool.AsyncConnectionPool(
        dsn, min_size=1, max_size=1, open=False, kwargs={"autocommit": True}
    )
    connector = PsycopgConnector()
    async with pool:
        await connector.open_async(pool)
        async with psycopg_lending.lent_async(pool) as connection:
            pid = connection.info.backend_pid
            await connection.execute("listen hello")
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as other:
                await other.execute("notify hello")
            while psycopg_lending.is_quiet(connection):  # noqa: ASYNC110 (it is not announced)
                await asyncio.sleep(0)
        async with psycopg_lending.lent_async(pool) as connection:
            assert connection.info.backend_pid == pid
        await connector.close_async()


async def test_a_connection_is_given_back_whatever_happens_to_it(dsn: str) -> None:
    pool: psycopg_pool.AsyncConnectionPool[Any] = psycopg_pool.AsyncConnectionPool(
        dsn, min_size=1, max_size=1, open=False
    )
    async with pool:

        async def fail() -> None:
            async with psycopg_lending.lent_async(pool) as connection:
                await connection.execute("create table lost ()")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        async with psycopg_lending.lent_async(pool) as connection:
            cursor = await connection.execute("select to_regclass('lost')")
            assert await cursor.fetchone() == (None,)


async def test_who_waits_in_vain_hears_of_the_pools_whole_timeout(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psycopg_lending, "ASK_AGAIN", 0.01)
    connector = PsycopgConnector(conninfo=dsn, min_size=1, max_size=1, timeout=0.05)
    await connector.open_async()
    try:
        async with connector.pool.connection(PATIENCE):
            with pytest.raises(exceptions.DatabaseUnavailable) as caught:
                await connector.call_async(schema_free.has_jobs_table())
        assert str(caught.value.__cause__) == "couldn't get a connection after 0.05 sec"
    finally:
        await connector.close_async()


def test_who_waits_in_vain_for_a_sync_pool_hears_the_same(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psycopg_lending, "ASK_AGAIN", 0.01)
    connector = SyncPsycopgConnector(conninfo=dsn, min_size=1, max_size=1, timeout=0.05)
    connector.open()
    try:
        with (
            connector.pool.connection(PATIENCE),
            pytest.raises(exceptions.DatabaseUnavailable) as caught,
        ):
            connector.call(schema_free.has_jobs_table())
        assert str(caught.value.__cause__) == "couldn't get a connection after 0.05 sec"
    finally:
        connector.close()


def test_a_connection_that_is_closed_is_not_taken_for_a_quiet_one(dsn: str) -> None:
    connection = psycopg.connect(dsn)
    assert psycopg_lending.is_quiet(connection)
    connection.close()
    assert not psycopg_lending.is_quiet(connection)


async def test_whoever_is_cancelled_while_a_connection_is_tried_gives_it_back(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = asyncio.Event()

    async def check(connection: Any) -> None:
        tried.set()
        await asyncio.Event().wait()

    pool: psycopg_pool.AsyncConnectionPool[Any] = psycopg_pool.AsyncConnectionPool(
        dsn, min_size=1, max_size=1, open=False
    )

    def not_quiet(connection: Any) -> bool:
        return False

    async def use() -> None:
        async with psycopg_lending.lent_async(pool):
            raise AssertionError

    async with pool:
        with monkeypatch.context() as patch:
            patch.setattr(psycopg_lending, "is_quiet", not_quiet)
            patch.setattr(psycopg_pool.AsyncConnectionPool, "check_connection", check)
            task = asyncio.create_task(use())
            await tried.wait()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        async with asyncio.timeout(PATIENCE), psycopg_lending.lent_async(pool) as connection:
            await connection.execute("select 1")


def test_an_interruption_while_a_connection_is_tried_out_gives_it_back(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = SyncPsycopgConnector(conninfo=dsn, min_size=1, max_size=1, timeout=PATIENCE)
    connector.open()

    def interrupt(connection: object) -> None:
        raise KeyboardInterrupt

    def never(connection: object) -> bool:
        return False

    try:
        with monkeypatch.context() as patch:
            patch.setattr(psycopg_lending, "is_quiet", never)
            patch.setattr(psycopg_pool.ConnectionPool, "check_connection", interrupt)
            with pytest.raises(KeyboardInterrupt):
                connector.call(schema_free.has_jobs_table())
        assert connector.call(schema_free.has_jobs_table())
    finally:
        connector.close()


PID = Function(name="pid", body="select pg_backend_pid()")
READ_ONLY = Function(
    name="read_only",
    body="select set_config('default_transaction_read_only', 'on', false)",
)


def ask(function: Function) -> Call[Any]:
    return Call(function=function, args={}, decode=decode.one)


async def test_a_server_that_is_no_primary_any_more_is_left(dsn: str) -> None:
    """One that was replaced takes connections again, as a standby, and refuses what writes."""
    connector = PsycopgConnector(conninfo=dsn, min_size=1, max_size=1, timeout=PATIENCE)
    write = front.pause_queue(queue_name="q")
    await connector.open_async()
    line = connector.line()
    try:
        for asked in (connector, line):
            before = await asked.call_async(ask(PID))
            await asked.call_async(ask(READ_ONLY))
            with pytest.raises(exceptions.DatabaseUnavailable):
                await asked.call_async(write)
            await asked.call_async(write)
            assert await asked.call_async(ask(PID)) != before
    finally:
        await line.close()
        await connector.close_async()


def test_so_it_is_by_sync_code(dsn: str) -> None:
    connector = SyncPsycopgConnector(conninfo=dsn, min_size=1, max_size=1, timeout=PATIENCE)
    write = front.pause_queue(queue_name="q")
    connector.open()
    try:
        before = connector.call(ask(PID))
        connector.call(ask(READ_ONLY))
        with pytest.raises(exceptions.DatabaseUnavailable):
            connector.call(write)
        connector.call(write)
        assert connector.call(ask(PID)) != before
    finally:
        connector.close()
