"""The async psycopg connector."""

from __future__ import annotations

import asyncio
import datetime
import json
import threading
from typing import Any

import psycopg
import psycopg_pool
import pytest

from procrastinate import (
    PsycopgConnector,
    SyncPsycopgConnector,
    exceptions,
    jobs,
    sql,
    types,
)
from procrastinate import psycopg_connector as door
from procrastinate.connectors import psycopg_async
from procrastinate.rpc import decode, defers, listing, schema_free, wire
from procrastinate.rpc.call import Call, Function

PID = Function(name="pid", body="select pg_backend_pid()")


def pid() -> Call[int]:
    return Call(function=PID, decode=decode.one)


def a_job(**options: Any) -> jobs.Job:
    defaults: dict[str, Any] = {
        "queue": "q",
        "task_name": "t",
        "lock": None,
        "queueing_lock": None,
    }
    return jobs.Job(**{**defaults, **options})


def test_it_is_where_3_x_had_it() -> None:
    assert door.PsycopgConnector is psycopg_async.PsycopgConnector is PsycopgConnector


async def test_nothing_works_before_it_is_open_and_after_it_is_closed(dsn: str) -> None:
    closed = PsycopgConnector(conninfo=dsn, min_size=1)
    with pytest.raises(exceptions.AppNotOpen):
        await closed.call_async(pid())
    with pytest.raises(exceptions.AppNotOpen):
        _ = closed.pool
    with pytest.raises(exceptions.AppNotOpen):
        await closed.execute_query_async("select 1")
    with pytest.raises(exceptions.AppNotOpen):
        closed.get_sync_connector().call(pid())

    await closed.open_async()
    await closed.open_async()
    assert await closed.call_async(pid())
    await closed.close_async()
    await closed.close_async()

    with pytest.raises(exceptions.AppNotOpen):
        await closed.call_async(pid())


async def test_a_server_that_cannot_be_reached_is_a_connector_exception() -> None:
    unreachable = PsycopgConnector(
        conninfo="host=127.0.0.1 port=1 connect_timeout=1", min_size=1, timeout=0.2
    )

    with pytest.raises(exceptions.DatabaseUnavailable) as caught:
        await unreachable.open_async()

    assert isinstance(caught.value.__cause__, psycopg_pool.PoolTimeout)


async def test_a_connection_string_that_cannot_be_read_is_not_shown(dsn: str) -> None:
    broken = PsycopgConnector(conninfo="host:localhost password:s3cret")

    with pytest.raises(exceptions.ConnectorException) as caught:
        await broken.open_async()

    assert "s3cret" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_a_pool_of_the_callers_is_used_and_left_open(dsn: str) -> None:
    async with psycopg_pool.AsyncConnectionPool(dsn, min_size=1, open=False) as pool:
        own = PsycopgConnector()
        await own.open_async(pool)
        assert own.pool is pool
        assert await own.call_async(schema_free.has_jobs_table())
        await own.close_async()
        assert not pool.closed


async def test_options_go_to_the_pool_and_to_its_connections(dsn: str) -> None:
    seen: dict[str, Any] = {}
    configured: list[psycopg.AsyncConnection] = []

    class Pool(psycopg_pool.AsyncConnectionPool[Any]):
        def __init__(self, **kwargs: Any) -> None:
            seen.update(kwargs)
            super().__init__(**kwargs)

    async def configure(connection: psycopg.AsyncConnection) -> None:
        configured.append(connection)

    own = PsycopgConnector(
        conninfo=dsn,
        pool_factory=Pool,
        min_size=1,
        max_size=3,
        kwargs={"application_name": "mine"},
        configure=configure,
    )
    await own.open_async()
    try:
        row = await own.execute_query_one_async("show application_name")
    finally:
        await own.close_async()

    assert (seen["min_size"], seen["max_size"]) == (1, 3)
    assert row == {"application_name": "mine"}
    assert configured


async def test_a_null_pool_works(dsn: str) -> None:
    own = PsycopgConnector(
        conninfo=dsn,
        pool_factory=psycopg_pool.AsyncNullConnectionPool,
        max_size=2,
        min_size=0,
    )
    await own.open_async()
    try:
        first = await own.call_async(pid())
        assert await own.call_async(pid()) != first
    finally:
        await own.close_async()


async def test_a_call_is_a_statement_of_its_own_and_prepared(
    connector: PsycopgConnector,
) -> None:
    await connector.call_async(wire.channels_v1(queues=None))

    prepared = await connector.execute_query_all_async(
        "select statement from pg_prepared_statements"
    )
    assert any("procrastinate_channels_v1" in row["statement"] for row in prepared)
    async with connector.pool.connection() as connection:
        assert connection.autocommit


async def test_statements_are_prepared_once_whatever_the_values(
    connector: PsycopgConnector,
) -> None:
    for size in (1, 300, 70_000, 2**40):
        await connector.call_async(listing.list_jobs(id=size, queue="q" if size > 1 else None))

    prepared = await connector.execute_query_all_async(
        "select statement from pg_prepared_statements"
    )
    assert len([row for row in prepared if "procrastinate_jobs" in row["statement"]]) == 1


async def test_without_prepared_statements_it_works_all_the_same(dsn: str) -> None:
    own = PsycopgConnector(conninfo=dsn, min_size=1, kwargs={"prepare_threshold": None})
    await own.open_async()
    try:
        await own.call_async(wire.channels_v1(queues=None))
        prepared = await own.execute_query_all_async("select 1 from pg_prepared_statements")
    finally:
        await own.close_async()
    assert prepared == []


async def test_calls_join_the_callers_transaction(
    connector: PsycopgConnector, aconnect: Any
) -> None:
    own = await aconnect(autocommit=False)
    call = defers.defer_jobs_v2(new_jobs=[a_job()])

    await connector.call_async(call, connection=own)
    assert len(await connector.call_async(listing.list_jobs(), connection=own)) == 1
    assert await connector.call_async(listing.list_jobs()) == []
    await own.rollback()
    assert await connector.call_async(listing.list_jobs()) == []

    await connector.call_async(call, connection=own)
    await own.commit()
    assert len(await connector.call_async(listing.list_jobs())) == 1


async def test_an_error_leaves_the_callers_transaction_failed(
    connector: PsycopgConnector, aconnect: Any
) -> None:
    own = await aconnect(autocommit=False)
    call = defers.defer_jobs_v2(new_jobs=[a_job(queueing_lock="ql")])
    await connector.call_async(call, connection=own)

    with pytest.raises(exceptions.UniqueViolation):
        await connector.call_async(call, connection=own)
    with pytest.raises(exceptions.ConnectorException) as caught:
        await connector.call_async(call, connection=own)

    assert isinstance(caught.value.__cause__, psycopg.errors.InFailedSqlTransaction)


async def test_a_connection_of_another_kind_is_refused(
    connector: PsycopgConnector, conn: psycopg.Connection
) -> None:
    wrong: Any = object()
    with pytest.raises((AttributeError, TypeError)):
        await connector.call_async(pid(), connection=wrong)


async def test_errors_are_ours_and_caused_by_the_drivers(connector: PsycopgConnector) -> None:
    with pytest.raises(exceptions.ConnectorException) as caught:
        await connector.execute_query_async("select nothing_of_this_name")

    assert type(caught.value) is exceptions.ConnectorException
    assert isinstance(caught.value.__cause__, psycopg.errors.UndefinedColumn)


async def test_a_killed_backend_is_replaced_before_anybody_notices(
    connector: PsycopgConnector, conn: psycopg.Connection
) -> None:
    first = await connector.call_async(pid())
    conn.execute("select pg_terminate_backend(%s, 5000)", [first])

    assert await connector.call_async(pid()) != first


async def test_a_backend_killed_in_a_statement_is_an_unavailable_database(
    connector: PsycopgConnector, conn: psycopg.Connection
) -> None:
    backend = await connector.call_async(pid())
    sleeping = asyncio.create_task(connector.execute_query_async("select pg_sleep(60)"))
    while not conn.execute(  # noqa: ASYNC110 (the server has no event for it)
        "select 1 from pg_stat_activity where pid = %s and state = 'active'", [backend]
    ).fetchone():
        await asyncio.sleep(0)
    conn.execute("select pg_terminate_backend(%s)", [backend])

    with pytest.raises(exceptions.DatabaseUnavailable):
        await sleeping


@pytest.mark.parametrize("sqlstate", ["40P01", "40001"])
@pytest.mark.parametrize("times", [3, 4])
async def test_a_statement_that_others_undid_is_sent_again_a_few_times(
    connector: PsycopgConnector, conn: psycopg.Connection, sqlstate: str, times: int
) -> None:
    conn.execute("create sequence tries")  # what sequences count is never undone
    conn.execute(
        f"""
        create function flaky() returns integer language plpgsql as $$
        begin
            if nextval('tries') <= {times} then
                raise exception using errcode = '{sqlstate}', message = 'others';
            end if;
            return 7;
        end $$
        """.encode()
    )
    call: Call[int] = Call(function=Function(name="flaky"), decode=decode.one)

    if times < 4:
        assert await connector.call_async(call) == 7
    else:
        with pytest.raises(exceptions.DatabaseUnavailable):
            await connector.call_async(call)


async def test_a_deadlock_in_the_callers_transaction_is_the_callers(
    connector: PsycopgConnector, conn: psycopg.Connection, aconn: psycopg.AsyncConnection
) -> None:
    conn.execute("create sequence tries")
    conn.execute(
        """
        create function flaky() returns integer language plpgsql as $$
        begin
            perform nextval('tries');
            raise exception using errcode = '40P01', message = 'others';
        end $$
        """
    )
    call: Call[int] = Call(function=Function(name="flaky"), decode=decode.one)

    with pytest.raises(exceptions.DatabaseUnavailable):
        await connector.call_async(call, connection=aconn)

    assert conn.execute("select last_value from tries").fetchone() == (1,)


async def test_json_goes_through_the_functions_given_both_ways(dsn: str) -> None:
    def dumps(value: Any) -> str:
        return json.dumps(value, default=lambda moment: {"at": moment.isoformat()})

    def loads(raw: Any) -> Any:
        return json.loads(
            raw,
            object_hook=lambda found: (
                datetime.datetime.fromisoformat(found["at"]) if "at" in found else found
            ),
        )

    moment = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    own = PsycopgConnector(conninfo=dsn, min_size=1, json_dumps=dumps, json_loads=loads)
    await own.open_async()
    try:
        await own.call_async(
            defers.defer_jobs_v2(new_jobs=[a_job(task_kwargs={"when": moment})])
        )
        (job,) = await own.call_async(listing.list_jobs())
        row = await own.execute_query_one_async("select %(x)s as x", x={"when": moment})
    finally:
        await own.close_async()
    assert job.task_kwargs == {"when": moment}
    assert row == {"x": {"when": moment}}


async def test_published_queries_return_dictionaries(connector: PsycopgConnector) -> None:
    assert await connector.execute_query_one_async("select %(a)s::int as a", a=3) == {"a": 3}
    assert await connector.execute_query_all_async("values (1), (2)") == [
        {"column1": 1},
        {"column1": 2},
    ]
    with pytest.raises(exceptions.NoResult):
        await connector.execute_query_one_async("select 1 where false")


async def test_jobs_to_defer_can_be_given_to_a_published_query(
    connector: PsycopgConnector,
) -> None:
    job = types.JobToDefer("q", "t", 1, None, None, {"a": 1}, None)

    (row,) = await connector.execute_query_all_async(sql.queries["defer_jobs"], jobs=[job])

    (stored,) = await connector.call_async(listing.list_jobs())
    assert (stored.id, stored.task_kwargs) == (row["id"], {"a": 1})


async def test_published_queries_join_the_callers_transaction(
    connector: PsycopgConnector, aconnect: Any
) -> None:
    own = await aconnect(autocommit=False)
    insert = (
        "insert into procrastinate_jobs (queue_name, task_name) values ('q', %(name)s) "
        "returning task_name"
    )

    one = await connector.execute_query_one_async_with_connection(own, insert, name="a")
    many = await connector.execute_query_all_async_with_connection(own, insert, name="b")
    await own.rollback()

    assert (one, many) == ({"task_name": "a"}, [{"task_name": "b"}])
    assert await connector.call_async(listing.list_jobs()) == []


# From sync code


async def test_until_it_is_open_sync_code_has_a_sync_connector_of_the_same_arguments(
    dsn: str,
) -> None:
    async def configure(_: object) -> None: ...

    own = PsycopgConnector(conninfo=dsn, min_size=1, configure=configure)
    twin = own.get_sync_connector()
    assert isinstance(twin, SyncPsycopgConnector)
    twin.open()
    try:
        assert own.get_sync_connector() is twin
        assert twin.call(schema_free.has_jobs_table())
        with pytest.raises(exceptions.AppNotOpen):
            await own.call_async(pid())
    finally:
        twin.close()


async def test_once_open_sync_code_in_threads_shares_its_pool(
    connector: PsycopgConnector,
) -> None:
    assert connector.get_sync_connector() is connector
    backend = await connector.call_async(pid())

    assert await asyncio.to_thread(connector.call, pid()) == backend
    assert await asyncio.to_thread(connector.execute_query_one, "select 1 as a") == {"a": 1}
    assert await asyncio.to_thread(connector.execute_query_all, "select 1 as a") == [{"a": 1}]
    await asyncio.to_thread(connector.execute_query, "select 1")


async def test_a_thread_that_the_loop_knows_nothing_of_shares_it_too(
    connector: PsycopgConnector,
) -> None:
    backend = await connector.call_async(pid())
    found: list[int] = []
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        found.append(connector.call(pid()))
        loop.call_soon_threadsafe(ended.set)

    thread = threading.Thread(target=work)
    thread.start()
    await ended.wait()
    thread.join()

    assert found == [backend]


async def test_sync_code_in_the_loops_own_thread_is_told_to_await(
    connector: PsycopgConnector,
) -> None:
    with pytest.raises(RuntimeError, match="just await the async function directly"):
        connector.call(pid())


async def test_open_as_async_it_cannot_be_opened_or_closed_as_sync(
    connector: PsycopgConnector,
) -> None:
    with pytest.raises(NotImplementedError):
        connector.get_sync_connector().open()
    with pytest.raises(NotImplementedError):
        connector.get_sync_connector().close()
