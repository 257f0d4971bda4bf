"""A line: a connection of one caller's beside the pool."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import TYPE_CHECKING, Any

import psycopg.types.json
import pytest

from procrastinate import PsycopgConnector, exceptions
from procrastinate.rpc import decode, front, wire
from procrastinate.rpc.call import Call, Function
from procrastinate.testing import InMemoryConnector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from procrastinate.connector import Line

#: Seconds after which a test that waits has failed.
PATIENCE = 20.0

PID = Function(name="pid", body="select pg_backend_pid()")
PREPARED = Function(
    name="prepared", body="select count(*) from pg_prepared_statements where not from_sql"
)
ECHO = Function(name="echo", arguments={"x": "jsonb"}, body="select %(x)s::jsonb")
SLEEP = Function(name="sleep", body="select pg_sleep(60)")


def ask(function: Function, **args: Any) -> Call[Any]:
    return Call(function=function, args=args, decode=decode.one)


@pytest.fixture
async def line(connector: PsycopgConnector) -> AsyncIterator[Line]:
    line = connector.line()
    yield line
    await line.close()


async def until_it_works(conn: psycopg.Connection, backend: int) -> None:
    """Return once a backend executes a statement."""
    while not conn.execute(  # noqa: ASYNC110 (the server has no event for it)
        "select 1 from pg_stat_activity where pid = %s and state = 'active'", [backend]
    ).fetchone():
        await asyncio.sleep(0)


async def test_a_line_answers_as_the_connector_does(
    connector: PsycopgConnector, line: Line
) -> None:
    for call in (
        wire.channels_v1(queues=["a", "b"]),
        front.check(),
        ask(ECHO, x={"a": [1, None, "ä"]}),
    ):
        assert await line.call_async(call) == await connector.call_async(call)


async def test_a_line_stays_on_one_connection_which_is_not_the_pools(dsn: str) -> None:
    own = PsycopgConnector(conninfo=dsn, min_size=1, max_size=1, timeout=5)
    await own.open_async()
    line = own.line()
    try:
        async with own.pool.connection() as lent:  # the only one that the pool has
            first = await line.call_async(ask(PID))
            assert first != lent.info.backend_pid
            assert await line.call_async(ask(PID)) == first
    finally:
        await line.close()
        await own.close_async()


async def test_each_statement_is_prepared_once(line: Line) -> None:
    for size in (1, 70_000, 2**40):
        await line.call_async(ask(ECHO, x=size))
    assert await line.call_async(ask(PREPARED)) == 2  # ECHO, and the one that asks


async def test_a_line_that_was_told_not_to_prepare_does_not(dsn: str) -> None:
    own = PsycopgConnector(conninfo=dsn, min_size=1, kwargs={"prepare_threshold": None})
    await own.open_async()
    line = own.line()
    try:
        assert await line.call_async(ask(ECHO, x=[1])) == [1]
        assert await line.call_async(ask(PREPARED)) == 0
    finally:
        await line.close()
        await own.close_async()


async def test_statements_that_somebody_dropped_are_prepared_again(line: Line) -> None:
    await line.call_async(ask(ECHO, x=1))
    first = await line.call_async(ask(PID))
    await line.call_async(
        Call(function=Function(name="d", body="deallocate all"), decode=decode.nothing)
    )
    assert await line.call_async(ask(ECHO, x=2)) == 2
    assert await line.call_async(ask(PID)) == first


async def test_a_statement_whose_result_has_changed_is_prepared_again(
    line: Line, conn: psycopg.Connection
) -> None:
    conn.execute("create table t as select 7 as a")
    call = ask(Function(name="t", body="select * from t"))
    assert await line.call_async(call) == 7
    conn.execute("alter table t alter a type text")
    assert await line.call_async(call) == "7"


async def test_errors_are_ours_caused_by_the_drivers_and_leave_the_line_as_it_was(
    line: Line,
) -> None:
    first = await line.call_async(ask(PID))
    with pytest.raises(exceptions.WorkerNotRegistered) as caught:
        await line.call_async(wire.heartbeat_v2(worker_id=12))
    assert isinstance(caught.value.__cause__, psycopg.Error)
    assert "12" in str(caught.value)
    with pytest.raises(exceptions.ConnectorException) as other:
        await line.call_async(ask(Function(name="n", body="select nothing_of_this_name")))
    assert isinstance(other.value.__cause__, psycopg.errors.UndefinedColumn)
    assert await line.call_async(ask(PID)) == first


@pytest.mark.parametrize("times", [3, 4])
async def test_a_statement_that_others_undid_is_sent_again_a_few_times(
    line: Line, conn: psycopg.Connection, times: int
) -> None:
    conn.execute("create sequence tries")  # what sequences count is never undone
    conn.execute(
        f"""
        create function flaky() returns integer language plpgsql as $$
        begin
            if nextval('tries') <= {times} then
                raise exception using errcode = '40P01', message = 'others';
            end if;
            return 7;
        end $$
        """.encode()
    )
    call = ask(Function(name="flaky"))
    if times < 4:
        assert await line.call_async(call) == 7
    else:
        with pytest.raises(exceptions.DatabaseUnavailable):
            await line.call_async(call)


async def test_a_backend_killed_while_nothing_is_asked_is_replaced_before_anybody_notices(
    line: Line, conn: psycopg.Connection
) -> None:
    for _ in range(2):
        first = await line.call_async(ask(PID))
        conn.execute("select pg_terminate_backend(%s, 5000)", [first])
        assert await line.call_async(ask(PID)) != first


async def test_a_backend_killed_in_a_statement_is_an_unavailable_database(
    line: Line, conn: psycopg.Connection
) -> None:
    backend = await line.call_async(ask(PID))
    sleeping = asyncio.create_task(line.call_async(ask(SLEEP)))
    await until_it_works(conn, backend)
    conn.execute("select pg_terminate_backend(%s)", [backend])

    with pytest.raises(exceptions.DatabaseUnavailable):
        await sleeping
    assert await line.call_async(ask(ECHO, x="after")) == "after"


async def test_a_call_that_is_cancelled_takes_its_connection_with_it(
    line: Line, conn: psycopg.Connection
) -> None:
    backend = await line.call_async(ask(PID))
    sleeping = asyncio.create_task(line.call_async(ask(SLEEP)))
    await until_it_works(conn, backend)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping

    # Its own answer, not the one that the other would have had.
    assert await line.call_async(ask(ECHO, x="mine")) == "mine"
    assert await line.call_async(ask(PID)) != backend


async def test_a_call_that_is_cancelled_when_its_answer_is_there_gives_it_to_nobody(
    line: Line,
) -> None:
    await line.call_async(ask(ECHO, x=0))
    call = asyncio.create_task(line.call_async(ask(ECHO, x="his")))
    await asyncio.sleep(0)
    while not call.done():
        call.cancel()
        await asyncio.sleep(0)
    assert await line.call_async(ask(ECHO, x="mine")) == "mine"


async def test_what_the_socket_does_not_take_at_once_is_sent_bit_by_bit(line: Line) -> None:
    large = ["x" * 1000] * 8_000  # 8 MB: more than a socket holds
    assert await line.call_async(ask(ECHO, x=large)) == large
    assert await line.call_async(ask(ECHO, x="small")) == "small"


async def test_a_backend_killed_while_it_is_being_told_is_an_unavailable_database(
    line: Line, conn: psycopg.Connection
) -> None:
    backend = await line.call_async(ask(PID))
    call = asyncio.create_task(line.call_async(ask(ECHO, x=["x" * 1000] * 8_000)))
    await asyncio.sleep(0)
    conn.execute("select pg_terminate_backend(%s)", [backend])
    with pytest.raises(exceptions.DatabaseUnavailable):
        await call
    assert await line.call_async(ask(ECHO, x="after")) == "after"


async def test_a_connection_that_breaks_while_it_is_written_to_fails_the_call(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libpq has closed what the loop still watches for reading and for writing."""
    await line.call_async(ask(PID))
    loop = asyncio.get_running_loop()
    add_writer = loop.add_writer
    broken: list[int] = []

    def add_writer_and_break(fd: int, *callback: Any) -> None:
        add_writer(fd, *callback)
        with socket.socket(fileno=os.dup(fd)) as same:
            same.shutdown(socket.SHUT_RDWR)
        broken.append(fd)

    monkeypatch.setattr(loop, "add_writer", add_writer_and_break)
    call = line.call_async(ask(ECHO, x=["x" * 1000] * 8_000))
    with pytest.raises(exceptions.DatabaseUnavailable):
        await asyncio.wait_for(call, PATIENCE)
    assert len(broken) == 1
    assert await line.call_async(ask(ECHO, x="after")) == "after"


async def test_a_closed_line_lets_go_and_connects_again_when_it_is_used(
    line: Line, conn: psycopg.Connection
) -> None:
    first = await line.call_async(ask(PID))
    await line.close()
    while conn.execute(  # noqa: ASYNC110 (the server has no event for it)
        "select 1 from pg_stat_activity where pid = %s", [first]
    ).fetchone():
        await asyncio.sleep(0)
    assert await line.call_async(ask(PID)) != first
    await line.close()
    await line.close()


async def test_a_database_that_can_not_be_reached_is_an_unavailable_one(
    connector: PsycopgConnector,
) -> None:
    connector.pool.kwargs = {"host": "127.0.0.1", "port": 1, "connect_timeout": 2}
    with pytest.raises(exceptions.DatabaseUnavailable):
        await connector.line().call_async(ask(PID))


async def test_a_line_of_a_closed_connector_says_so(dsn: str) -> None:
    with pytest.raises(exceptions.AppNotOpen):
        await PsycopgConnector(conninfo=dsn).line().call_async(ask(PID))


async def test_json_and_what_the_user_configures_hold_on_a_line(dsn: str) -> None:
    configured: list[psycopg.AsyncConnection[Any]] = []

    async def configure(connection: psycopg.AsyncConnection[Any]) -> None:
        configured.append(connection)
        await connection.execute("set application_name = 'mine'")

    def dumps(value: Any) -> str:
        return json.dumps({"dumped": value})

    def loads(text: Any) -> Any:
        return ["loaded", json.loads(text)]

    own = PsycopgConnector(
        conninfo=dsn,
        min_size=1,
        json_dumps=dumps,
        json_loads=loads,
        configure=configure,
    )
    await own.open_async()
    line = own.line()
    try:
        assert await line.call_async(ask(ECHO, x=1)) == ["loaded", {"dumped": 1}]
        name = Function(name="name", body="select current_setting('application_name')")
        assert await line.call_async(ask(name)) == "mine"
        assert len(configured) == 2
    finally:
        await line.close()
        await own.close_async()


async def test_how_psycopg_reads_json_for_the_whole_program_holds_on_a_line(
    connector: PsycopgConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Loader(psycopg.types.json.JsonbLoader):
        def load(self, data: Any) -> Any:
            return ["of the program", super().load(data)]

    async def configure(connection: psycopg.AsyncConnection[Any]) -> None:
        connection.adapters.register_loader("jsonb", Loader)

    monkeypatch.setattr(connector, "_configure", configure)
    line = connector.line()
    assert await line.call_async(ask(ECHO, x=1)) == ["of the program", 1]
    await line.close()


async def test_a_connector_without_one_of_its_own_has_a_line_of_single_calls() -> None:
    memory = InMemoryConnector()
    line = memory.line()
    assert await line.call_async(wire.channels_v1(queues=None)) == await memory.call_async(
        wire.channels_v1(queues=None)
    )
    await line.close()


async def test_each_new_connection_is_greeted_before_all_else(
    line: Line, conn: psycopg.Connection
) -> None:
    greeted: list[Any] = []

    def greeting() -> Call[Any]:
        greeted.append(None)
        return ask(ECHO, x={"who": ["I", len(greeted)]})

    line.greeting = greeting
    first = await line.call_async(ask(PID))
    assert await line.call_async(ask(PID)) == first
    assert len(greeted) == 1
    conn.execute("select pg_terminate_backend(%s, 5000)", [first])
    assert await line.call_async(ask(PID)) != first
    assert len(greeted) == 2


async def test_a_server_that_does_not_take_the_greeting_is_told_nothing(
    line: Line, conn: psycopg.Connection
) -> None:
    line.greeting = lambda: wire.heartbeat_v2(worker_id=1, run="nobody's")
    for _ in range(2):
        with pytest.raises(exceptions.WorkerNotRegistered):
            await line.call_async(wire.register_worker_v2(name="n", queues=None))
    assert conn.execute("select 1 from procrastinate_workers").fetchone() is None
    line.greeting = None
    assert await line.call_async(wire.register_worker_v2(name="n", queues=None)) > 0
