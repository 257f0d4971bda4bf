"""The sync psycopg connector, and what sync connectors say to everything async."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import psycopg_pool
import pytest

from procrastinate import (
    App,
    BaseConnector,
    PsycopgConnector,
    SyncPsycopgConnector,
    exceptions,
    jobs,
)
from procrastinate import sync_psycopg_connector as door
from procrastinate.connectors import psycopg_sync
from procrastinate.rpc import decode, defers, listing, schema_free
from procrastinate.rpc.call import Call, Function


def pid() -> Call[int]:
    return Call(
        function=Function(name="pid", body="select pg_backend_pid()"), decode=decode.one
    )


def a_job(**options: Any) -> jobs.Job:
    defaults: dict[str, Any] = {
        "queue": "q",
        "task_name": "t",
        "lock": None,
        "queueing_lock": None,
    }
    return jobs.Job(**{**defaults, **options})


def test_it_is_where_3_x_had_it() -> None:
    assert door.SyncPsycopgConnector is psycopg_sync.SyncPsycopgConnector


def test_nothing_works_before_it_is_open_and_after_it_is_closed(dsn: str) -> None:
    closed = SyncPsycopgConnector(conninfo=dsn, min_size=1)
    for use in (
        lambda: closed.call(pid()),
        lambda: closed.execute_query("select 1"),
        lambda: closed.execute_query_one("select 1"),
        lambda: closed.execute_query_all("select 1"),
        lambda: closed.pool,
    ):
        with pytest.raises(exceptions.AppNotOpen):
            use()

    closed.open()
    closed.open()
    assert closed.call(pid())
    closed.close()
    closed.close()

    with pytest.raises(exceptions.AppNotOpen):
        closed.call(pid())


def test_a_server_that_cannot_be_reached_is_a_connector_exception() -> None:
    unreachable = SyncPsycopgConnector(
        conninfo="host=127.0.0.1 port=1 connect_timeout=1", min_size=1, timeout=0.2
    )

    with pytest.raises(exceptions.DatabaseUnavailable) as caught:
        unreachable.open()

    assert isinstance(caught.value.__cause__, psycopg_pool.PoolTimeout)


def test_a_connection_string_that_cannot_be_read_is_not_shown() -> None:
    with pytest.raises(exceptions.ConnectorException) as caught:
        SyncPsycopgConnector(conninfo="host:localhost password:s3cret").open()

    assert "s3cret" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_a_pool_of_the_callers_is_used_and_left_open(dsn: str) -> None:
    with psycopg_pool.ConnectionPool(dsn, min_size=1, open=True) as pool:
        own = SyncPsycopgConnector()
        own.open(pool)
        assert own.pool is pool
        assert own.call(schema_free.has_jobs_table())
        own.close()
        assert not pool.closed


def test_options_go_to_the_pool_and_to_its_connections(dsn: str) -> None:
    configured: list[Any] = []
    own = SyncPsycopgConnector(
        conninfo=dsn,
        min_size=1,
        max_size=3,
        kwargs={"application_name": "mine"},
        configure=configured.append,
    )
    own.open()
    try:
        assert own.pool.max_size == 3
        assert own.execute_query_one("show application_name") == {"application_name": "mine"}
        with own.pool.connection() as connection:
            assert connection.autocommit
    finally:
        own.close()
    assert configured


def test_statements_are_prepared_once_whatever_the_values(
    sync_connector: SyncPsycopgConnector,
) -> None:
    for size in (1, 300, 70_000, 2**40):
        sync_connector.call(listing.list_jobs(id=size))

    prepared = sync_connector.execute_query_all("select statement from pg_prepared_statements")
    assert len([row for row in prepared if "procrastinate_jobs" in row["statement"]]) == 1


def test_calls_join_the_callers_transaction(
    sync_connector: SyncPsycopgConnector, connect: Any
) -> None:
    own = connect(autocommit=False)
    call = defers.defer_jobs_v2(new_jobs=[a_job(queueing_lock="ql")])

    sync_connector.call(call, connection=own)
    assert len(sync_connector.call(listing.list_jobs(), connection=own)) == 1
    assert sync_connector.call(listing.list_jobs()) == []
    with pytest.raises(exceptions.UniqueViolation):
        sync_connector.call(call, connection=own)
    own.rollback()
    assert sync_connector.call(listing.list_jobs()) == []


def test_published_queries_join_the_callers_transaction(
    sync_connector: SyncPsycopgConnector, connect: Any
) -> None:
    own = connect(autocommit=False)
    insert = (
        "insert into procrastinate_jobs (queue_name, task_name) values ('q', %(name)s) "
        "returning task_name"
    )

    one = sync_connector.execute_query_one_with_connection(own, insert, name="a")
    many = sync_connector.execute_query_all_with_connection(own, insert, name="b")
    own.rollback()

    assert (one, many) == ({"task_name": "a"}, [{"task_name": "b"}])
    assert sync_connector.call(listing.list_jobs()) == []


def test_published_queries_return_dictionaries(sync_connector: SyncPsycopgConnector) -> None:
    assert sync_connector.execute_query_one("select %(a)s::int as a", a=3) == {"a": 3}
    assert sync_connector.execute_query_all("values (1), (2)") == [
        {"column1": 1},
        {"column1": 2},
    ]
    with pytest.raises(exceptions.NoResult):
        sync_connector.execute_query_one("select 1 where false")


def test_errors_are_ours_and_caused_by_the_drivers(
    sync_connector: SyncPsycopgConnector,
) -> None:
    with pytest.raises(exceptions.ConnectorException) as caught:
        sync_connector.execute_query("select nothing_of_this_name")

    assert isinstance(caught.value.__cause__, psycopg.errors.UndefinedColumn)


def test_a_killed_backend_is_replaced_before_anybody_notices(
    sync_connector: SyncPsycopgConnector, conn: psycopg.Connection
) -> None:
    first = sync_connector.call(pid())
    conn.execute("select pg_terminate_backend(%s, 5000)", [first])

    assert sync_connector.call(pid()) != first


@pytest.mark.parametrize("times", [3, 4])
def test_a_statement_that_others_undid_is_sent_again_a_few_times(
    sync_connector: SyncPsycopgConnector, conn: psycopg.Connection, times: int
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
    call: Call[int] = Call(function=Function(name="flaky"), decode=decode.one)

    if times < 4:
        assert sync_connector.call(call) == 7
    else:
        with pytest.raises(exceptions.DatabaseUnavailable):
            sync_connector.call(call)


def test_json_goes_through_the_functions_given_both_ways(dsn: str) -> None:
    def dumps(value: dict[str, Any]) -> str:
        return json.dumps({**value, "dumped": True})

    def loads(raw: str) -> dict[str, Any]:
        return {**json.loads(raw), "loaded": True}

    own = SyncPsycopgConnector(conninfo=dsn, min_size=1, json_dumps=dumps, json_loads=loads)
    own.open()
    try:
        own.call(defers.defer_jobs_v2(new_jobs=[a_job(task_kwargs={"a": 1})]))
        (job,) = own.call(listing.list_jobs())
        row = own.execute_query_one("select %(x)s as x", x={"a": 1})
    finally:
        own.close()
    assert job.task_kwargs == row["x"] == {"a": 1, "dumped": True, "loaded": True}


async def test_an_async_twin_has_the_same_arguments(dsn: str) -> None:
    twin = SyncPsycopgConnector(
        conninfo=dsn, min_size=1, kwargs={"application_name": "mine"}, configure=print
    ).get_async_twin()

    assert isinstance(twin, PsycopgConnector)
    await twin.open_async()
    try:
        row = await twin.execute_query_one_async("show application_name")
    finally:
        await twin.close_async()
    assert row == {"application_name": "mine"}


async def test_everything_async_is_refused(sync_connector: SyncPsycopgConnector) -> None:
    async def listen(*, channel: str, payload: str) -> None: ...

    for use in (
        sync_connector.open_async(),
        sync_connector.close_async(),
        sync_connector.execute_query_async("select 1"),
        sync_connector.execute_query_one_async("select 1"),
        sync_connector.execute_query_all_async("select 1"),
        sync_connector.call_async(pid()),
        sync_connector.listen_notify(listen, ["a"]),
    ):
        with pytest.raises(exceptions.SyncConnectorConfigurationError):
            await use


# What any connector does that has nothing but the published queries


class Published(BaseConnector):
    """A connector of a user's, written for 3.x."""

    def __init__(self, inner: SyncPsycopgConnector) -> None:
        self._inner = inner

    def execute_query_all(self, query: Any, **arguments: Any) -> list[dict[str, Any]]:
        return self._inner.execute_query_all(query, **arguments)


def test_a_connector_that_runs_queries_can_send_calls(
    sync_connector: SyncPsycopgConnector,
) -> None:
    published = Published(sync_connector)

    (job_id,) = published.call(
        defers.defer_jobs_v2(new_jobs=[a_job(lock="l", task_kwargs={"a": 1})])
    )

    assert published.call(listing.list_jobs()) == [
        a_job(id=job_id, status="todo", lock="l", task_kwargs={"a": 1})
    ]


async def test_a_connector_that_takes_no_connections_says_so(
    sync_connector: SyncPsycopgConnector,
) -> None:
    published = Published(sync_connector)
    message = "Published does not support external connections"

    with pytest.raises(exceptions.ConnectorException, match=message):
        published.call(pid(), connection=object())
    with pytest.raises(exceptions.ConnectorException, match=message):
        await published.call_async(pid(), connection=object())
    with pytest.raises(exceptions.SyncConnectorConfigurationError):
        published.get_async_twin()


def test_a_database_without_the_schema_says_so(empty_dsn: str) -> None:
    app = App(connector=SyncPsycopgConnector(conninfo=empty_dsn, min_size=1))
    with app.open(), pytest.raises(exceptions.SchemaMismatch, match="schema --apply"):
        app.configure_task("t").defer()
