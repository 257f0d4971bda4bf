"""What only the connector on psycopg2 has."""

from __future__ import annotations

import psycopg2.pool
import pytest

from procrastinate import App, exceptions
from procrastinate.contrib import psycopg2 as contrib


def test_a_pool_of_the_caller_s_is_used_and_left_open(dsn: str) -> None:
    pool = psycopg2.pool.ThreadedConnectionPool(1, 1, dsn=dsn)
    app = App(connector=contrib.Psycopg2Connector(dsn="not used"))
    with app.open(pool):
        job = app.configure_task("t").defer(a=1)
        assert [found.id for found in app.job_manager.list_jobs()] == [job]
    assert not pool.closed
    pool.closeall()


def test_a_pool_that_the_caller_has_closed_may_be_closed_again(dsn: str) -> None:
    connector = contrib.Psycopg2Connector(dsn=dsn)
    connector.open()
    connector.pool.closeall()

    connector.close()

    with pytest.raises(exceptions.AppNotOpen):
        connector.execute_query("select 1")


def test_a_pool_that_is_exhausted_says_so_and_loses_nothing(dsn: str) -> None:
    pool = psycopg2.pool.ThreadedConnectionPool(1, 1, dsn=dsn)
    connector = contrib.Psycopg2Connector()
    connector.open(pool)
    mine = pool.getconn()
    with pytest.raises(exceptions.ConnectorException) as raised:
        connector.execute_query("select 1")
    assert "exhausted" in str(raised.value.__cause__)
    pool.putconn(mine)
    connector.execute_query("select 1")
    pool.closeall()


def test_a_transaction_that_failed_leaves_no_connection_in_it(dsn: str) -> None:
    """Also on connections of a pool that do not commit by themselves."""
    pool = psycopg2.pool.ThreadedConnectionPool(1, 1, dsn=dsn)
    connector = contrib.Psycopg2Connector()
    connector.open(pool)
    with pytest.raises(exceptions.ConnectorException):
        connector.execute_query("select 1/0")
    connector.execute_query("create table kept (id int)")
    assert connector.execute_query_one("select count(*) from kept") == {"count": 0}
    pool.closeall()


def test_connections_of_the_caller_s_are_refused(dsn: str) -> None:
    app = App(connector=contrib.Psycopg2Connector(dsn=dsn))
    with (
        app.open(),
        pytest.raises(
            exceptions.ConnectorException,
            match="Psycopg2Connector does not support external connections",
        ),
    ):
        app.configure_task("t", connection=object()).defer()


def test_a_server_that_is_not_there_is_told_as_unavailable() -> None:
    connector = contrib.Psycopg2Connector(dsn="host=127.0.0.1 port=1 password=secret")
    with pytest.raises(exceptions.DatabaseUnavailable) as raised:
        connector.open()
    assert "secret" not in str(raised.value.__cause__)
