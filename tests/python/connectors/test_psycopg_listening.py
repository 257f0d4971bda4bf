"""The async psycopg connector listens on a connection beside its pool."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import psycopg_pool
import pytest

from procrastinate import PsycopgConnector, exceptions
from procrastinate import connector as connector_module
from procrastinate.connectors import psycopg_async


class Ear:
    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.listening = asyncio.Event()
        self.times = 0

    async def __call__(self, *, channel: str, payload: str) -> None:
        await self.heard.put((channel, payload))

    def on_listening(self) -> None:
        self.times += 1
        self.listening.set()


async def test_it_listens_beside_the_pool(
    connector: PsycopgConnector, conn: psycopg.Connection
) -> None:
    ear = Ear()
    task = asyncio.create_task(
        connector.listen_notify(ear, ["a", 'b"#c'], on_listening=ear.on_listening)
    )
    await ear.listening.wait()
    conn.execute("""select pg_notify('a', '1'), pg_notify('b"#c', '2'), pg_notify('d', '3')""")

    assert [await ear.heard.get(), await ear.heard.get()] == [("a", "1"), ('b"#c', "2")]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await _listeners_gone(conn)


async def _listeners_gone(conn: psycopg.Connection) -> bool:
    async with asyncio.timeout(5):
        while conn.execute(  # noqa: ASYNC110 (the server has no event for it)
            "select 1 from pg_stat_activity where query ilike 'listen%' "
            "and datname = current_database()"
        ).fetchone():
            await asyncio.sleep(0)
    return True


async def test_a_listening_connection_that_is_killed_is_an_unavailable_database(
    connector: PsycopgConnector, conn: psycopg.Connection
) -> None:
    ear = Ear()
    task = asyncio.create_task(connector.listen_notify(ear, ["a"], ear.on_listening))
    await ear.listening.wait()
    conn.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where query ilike 'listen%' and datname = current_database()"
    )

    with pytest.raises(exceptions.DatabaseUnavailable):
        await task


@pytest.fixture
def trials(conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[str]:
    """How a connection that says nothing is tried out; each trial meets a notification."""
    made: asyncio.Queue[str] = asyncio.Queue()
    say: Any = vars(psycopg_async)["_say"]

    async def try_out(connection: Any, statement: Any) -> None:
        if statement == "select 1":
            made.put_nowait(statement)
            conn.execute("select pg_notify('a', 'meanwhile')")
        await say(connection, statement)

    monkeypatch.setattr(connector_module, "LISTEN_TIMEOUT", 0.01)
    monkeypatch.setattr(psycopg_async, "_say", try_out)
    return made


async def test_a_silent_connection_is_tried_out(
    connector: PsycopgConnector, trials: asyncio.Queue[str]
) -> None:
    ear = Ear()
    task = asyncio.create_task(connector.listen_notify(ear, ["a"], ear.on_listening))
    async with asyncio.timeout(5):
        for _ in range(3):
            await trials.get()
            assert await ear.heard.get() == ("a", "meanwhile")
    assert ear.times == 1  # Nothing was missed that would have to be looked for.
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def heard_of_one(connector: PsycopgConnector, conn: psycopg.Connection) -> None:
    ear = Ear()
    task = asyncio.create_task(connector.listen_notify(ear, ["a"], ear.on_listening))
    async with asyncio.timeout(5):
        await ear.listening.wait()
        conn.execute("select pg_notify('a', '1')")
        assert await ear.heard.get() == ("a", "1")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("is_async", [False, True])
async def test_it_connects_as_a_pool_does_that_asks_each_time_where_to(
    dsn: str, conn: psycopg.Connection, is_async: bool
) -> None:
    asked: list[str] = []

    def where() -> str:
        asked.append("where")
        return dsn

    def how() -> dict[str, Any]:
        asked.append("how")
        return {"application_name": "asked"}

    async def where_async() -> str:
        return where()

    async def how_async() -> dict[str, Any]:
        return how()

    options: Any = {
        "conninfo": where_async if is_async else where,
        "kwargs": how_async if is_async else how,
    }
    pool = psycopg_pool.AsyncConnectionPool("", min_size=1, open=False)
    # As the pools of psycopg-pool from 3.3 on have them; those before have plain values.
    vars(pool).update(options)
    connector = PsycopgConnector()
    beside: Any = connector
    connection = await beside._connect_beside(pool)
    try:
        assert connection.info.get_parameters()["application_name"] == "asked"
    finally:
        await connection.close()
    assert asked == ["where", "how"]
