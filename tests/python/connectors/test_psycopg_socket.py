"""What a call on a connection of the pool goes through, when it needs no cursor."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg
import psycopg_pool
import pytest

from procrastinate import PsycopgConnector, SyncPsycopgConnector, exceptions
from procrastinate.connectors import psycopg_socket
from procrastinate.rpc import decode
from procrastinate.rpc.call import Call, Function

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PATIENCE = 10.0

PID = Function(name="pid", body="select pg_backend_pid()")
PREPARED = Function(
    name="prepared", body="select count(*) from pg_prepared_statements where not from_sql"
)
TEXT = Function(name="text", arguments={"x": "text"}, body="select %(x)s::text")
LENGTH = Function(name="length", arguments={"x": "text"}, body="select length(%(x)s::text)")
ISOLATION = Function(name="isolation", body="select current_setting('transaction_isolation')")
SLEEP = Function(name="sleep", body="select pg_sleep(60)")


def ask(function: Function, **args: Any) -> Call[Any]:
    return Call(function=function, args=args, decode=decode.one)


class Both:
    """A connector of each colour with the same options, each with one connection."""

    def __init__(self, dsn: str, **kwargs: Any) -> None:
        options: dict[str, Any] = {
            "conninfo": dsn,
            "min_size": 1,
            "max_size": 1,
            "timeout": PATIENCE,
            "kwargs": kwargs,
        }
        self.on_loop = PsycopgConnector(**options)
        self.sync = SyncPsycopgConnector(**options)

    async def __aenter__(self) -> Both:
        await self.on_loop.open_async()
        self.sync.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.sync.close()
        await self.on_loop.close_async()

    async def answers(self, call: Call[Any]) -> list[Any]:
        return [await self.on_loop.call_async(call), self.sync.call(call)]


@pytest.fixture
async def both(dsn: str) -> AsyncIterator[Both]:
    async with Both(dsn) as both:
        yield both


async def test_a_statement_is_prepared_once_for_each_connection(both: Both) -> None:
    for _ in range(3):
        assert await both.answers(ask(TEXT, x="ä")) == ["ä", "ä"]

    assert await both.answers(ask(PREPARED)) == [2, 2]  # that, and the one that asks


async def test_who_was_told_not_to_prepare_does_not(dsn: str) -> None:
    async with Both(dsn, prepare_threshold=None) as both:
        assert await both.answers(ask(TEXT, x="a")) == ["a", "a"]
        assert await both.answers(ask(PREPARED)) == [0, 0]


async def test_what_somebody_deallocated_is_prepared_again(both: Both) -> None:
    await both.answers(ask(TEXT, x="a"))
    await both.answers(
        Call(function=Function(name="d", body="deallocate all"), decode=decode.nothing)
    )

    assert await both.answers(ask(TEXT, x="b")) == ["b", "b"]


async def test_text_is_never_cut_where_it_has_a_nul(both: Both) -> None:
    call = ask(TEXT, x="mine\0or not")

    with pytest.raises(exceptions.ConnectorException) as caught:
        await both.on_loop.call_async(call)
    assert "NUL" in str(caught.value.__cause__)
    with pytest.raises(exceptions.ConnectorException):
        both.sync.call(call)
    with pytest.raises(exceptions.ConnectorException):
        await both.on_loop.line().call_async(call)


async def test_text_arrives_whatever_encoding_the_connection_speaks(dsn: str) -> None:
    async with Both(dsn, client_encoding="latin1") as both:
        assert await both.answers(ask(LENGTH, x="äöü")) == [3, 3]
        assert await both.answers(ask(TEXT, x="äöü")) == ["äöü", "äöü"]
        line = both.on_loop.line()
        assert await line.call_async(ask(TEXT, x="äöü")) == "äöü"
        await line.close()


async def test_a_cursor_class_of_the_users_sees_each_call(dsn: str) -> None:
    seen: list[str] = []

    class Async(psycopg.AsyncCursor[Any]):
        async def execute(self, query: Any, *args: Any, **options: Any) -> Any:
            seen.append(str(query))
            return await super().execute(query, *args, **options)

    class Sync(psycopg.Cursor[Any]):
        def execute(self, query: Any, *args: Any, **options: Any) -> Any:
            seen.append(str(query))
            return super().execute(query, *args, **options)

    async with Both(dsn, cursor_factory=Async) as both:
        await both.on_loop.call_async(ask(PID))
    async with Both(dsn, cursor_factory=Sync) as both:
        both.sync.call(ask(PID))

    assert seen == [PID.text] * 2


async def test_the_isolation_level_of_a_pool_of_the_callers_holds(dsn: str) -> None:
    async def strictly(connection: psycopg.AsyncConnection[Any]) -> None:
        await connection.set_isolation_level(psycopg.IsolationLevel.SERIALIZABLE)

    connector = PsycopgConnector()
    async with psycopg_pool.AsyncConnectionPool(
        dsn, min_size=1, open=False, configure=strictly
    ) as pool:
        await connector.open_async(pool)
        assert await connector.call_async(ask(ISOLATION)) == "serializable"
        await connector.close_async()


async def test_a_connection_is_given_back_after_each_call(both: Both) -> None:
    first = await both.answers(ask(PID))

    async with both.on_loop.pool.connection() as mine:
        assert mine.info.backend_pid == first[0]
        assert (await (await mine.execute("select 1")).fetchone()) == (1,)
    with both.sync.pool.connection() as own:
        assert own.info.backend_pid == first[1]
    assert await both.answers(ask(PID)) == first


@pytest.fixture
def interrupted() -> Iterator[type[BaseException]]:
    """What SIGUSR1 raises in the main thread."""

    class Interrupt(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield Interrupt
    signal.signal(signal.SIGUSR1, before)


def test_a_sync_call_that_is_interrupted_is_cancelled_on_the_server(
    sync_connector: SyncPsycopgConnector,
    conn: psycopg.Connection,
    interrupted: type[BaseException],
) -> None:
    backend = sync_connector.call(ask(PID))
    main = threading.get_ident()

    def interrupt_when_it_works() -> None:
        while not conn.execute(
            "select 1 from pg_stat_activity where pid = %s and wait_event = 'PgSleep'",
            [backend],
        ).fetchone():
            pass
        signal.pthread_kill(main, signal.SIGUSR1)

    thread = threading.Thread(target=interrupt_when_it_works)
    thread.start()
    with pytest.raises(interrupted):
        sync_connector.call(ask(SLEEP))
    thread.join(PATIENCE)

    assert sync_connector.call(ask(PID)) != backend
    deadline = time.monotonic() + PATIENCE
    while conn.execute("select 1 from pg_stat_activity where pid = %s", [backend]).fetchone():
        assert time.monotonic() < deadline, "the server still sleeps"


def test_a_sync_call_larger_than_the_socket_arrives_whole(
    sync_connector: SyncPsycopgConnector,
) -> None:
    large = "x" * 8_000_000
    assert sync_connector.call(ask(TEXT, x=large)) == large


async def test_what_a_connection_remembers_goes_with_it(both: Both) -> None:
    await both.on_loop.call_async(ask(PID))
    async with both.on_loop.pool.connection() as mine:
        assert psycopg_socket.is_plain(mine)
        await mine.close()
        del mine

    assert await both.on_loop.call_async(ask(TEXT, x="new")) == "new"
    assert await both.on_loop.call_async(ask(PREPARED)) == 2
