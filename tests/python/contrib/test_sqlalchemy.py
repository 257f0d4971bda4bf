"""What only the connector on SQLAlchemy has, and transactions of SQLAlchemy's elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy
import sqlalchemy.exc
import sqlalchemy.orm
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector, exceptions, jobs
from procrastinate.contrib import sqlalchemy as contrib
from tests.python.contrib.conftest import url_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def engine(dsn: str) -> Iterator[sqlalchemy.Engine]:
    engine = sqlalchemy.create_engine(url_of(dsn))
    yield engine
    engine.dispose()


def test_an_engine_of_the_caller_s_is_used_and_not_disposed_of(
    engine: sqlalchemy.Engine,
) -> None:
    connector = contrib.SQLAlchemyPsycopg2Connector(dsn="postgresql://nowhere")
    with pytest.raises(exceptions.AppNotOpen):
        _ = connector.engine
    app = App(connector=connector)
    with app.open(engine):
        assert connector.engine is engine
        app.configure_task("t").defer()
    with engine.connect() as connection:
        assert (
            connection.exec_driver_sql("select count(*) from procrastinate_jobs").scalar_one()
            == 1
        )


def test_an_address_without_a_driver_is_for_psycopg2(dsn: str) -> None:
    address = url_of(dsn).set(drivername="postgresql")
    connector = contrib.SQLAlchemyPsycopg2Connector(
        dsn=address.render_as_string(hide_password=False)
    )
    connector.open()
    try:
        assert connector.engine.driver == "psycopg2"
        assert connector.execute_query_one("select 1 as one") == {"one": 1}
    finally:
        connector.close()


def test_what_goes_wrong_without_a_word_of_the_driver_s_is_a_connector_exception(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = contrib.SQLAlchemyPsycopg2Connector(dsn=str(url_of(dsn)))

    class StrangeError(Exception):
        pass

    def refuse(*args: object) -> None:
        raise sqlalchemy.exc.DBAPIError("select 1", {}, StrangeError())

    connector.open()
    try:
        monkeypatch.setattr(sqlalchemy.Connection, "exec_driver_sql", refuse)
        with pytest.raises(exceptions.ConnectorException):
            connector.execute_query("select 1")
    finally:
        connector.close()


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_job_shares_the_fate_of_the_transaction_that_it_is_deferred_in(
    engine: sqlalchemy.Engine, end: str
) -> None:
    app = App(connector=contrib.SQLAlchemyPsycopg2Connector())
    with app.open(engine), engine.connect() as connection:
        job = app.configure_task("t", connection=connection).defer(percent="100 %")
        assert not app.job_manager.list_jobs()
        assert app.job_manager.get_job_status(job, connection=connection) is jobs.Status.TODO
        getattr(connection, end)()
        assert len(app.job_manager.list_jobs()) == (end == "commit")


def test_cancelling_in_a_transaction_is_undone_with_it(engine: sqlalchemy.Engine) -> None:
    app = App(connector=contrib.SQLAlchemyPsycopg2Connector())
    with app.open(engine), engine.connect() as connection:
        (job, _) = app.configure_task("t").batch_defer({"a": 1}, {"a": 2})
        assert app.job_manager.cancel_job_by_id(job, connection=connection)
        connection.rollback()
        assert app.job_manager.get_job_status(job) is jobs.Status.TODO


def test_an_error_leaves_the_caller_s_transaction_failed(engine: sqlalchemy.Engine) -> None:
    app = App(connector=contrib.SQLAlchemyPsycopg2Connector())
    with app.open(engine), engine.connect() as connection:
        task = app.configure_task("t", queueing_lock="ql", connection=connection)
        task.defer()
        with pytest.raises(exceptions.AlreadyEnqueued):
            task.defer()
        with pytest.raises(exceptions.ConnectorException):
            task.defer()


def test_a_pool_that_has_no_connection_left_is_told_as_unavailable(dsn: str) -> None:
    connector = contrib.SQLAlchemyPsycopg2Connector(
        dsn=url_of(dsn).render_as_string(hide_password=False),
        pool_size=1,
        max_overflow=0,
        pool_timeout=0.01,
    )
    connector.open()
    with connector.engine.connect(), pytest.raises(exceptions.DatabaseUnavailable):
        connector.execute_query("select 1")
    connector.close()


# ------------------------------------------------- psycopg 3, with transactions of SQLAlchemy's


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_session_on_psycopg_3_shares_its_transaction(dsn: str, end: str) -> None:
    engine = sqlalchemy.create_engine(url_of(dsn).set(drivername="postgresql+psycopg"))
    app = App(connector=SyncPsycopgConnector(conninfo=dsn, min_size=1, max_size=1))
    with app.open(), sqlalchemy.orm.Session(engine) as session:
        session.execute(sqlalchemy.text("create table mine (id int)"))
        options: dict[str, Any] = {"queueing_lock": "ql"}
        job = app.configure_task("t", **options, connection=session.connection()).defer(a=1)
        with pytest.raises(exceptions.AlreadyEnqueued), session.begin_nested():
            app.configure_task("t", **options, connection=session.connection()).defer(a=2)
        assert (
            app.job_manager.get_job_status(job, connection=session.connection())
            is jobs.Status.TODO
        )
        assert not app.job_manager.list_jobs()
        getattr(session, end)()
        assert len(app.job_manager.list_jobs()) == (end == "commit")
    engine.dispose()


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_an_async_session_on_psycopg_3_shares_its_transaction(dsn: str, end: str) -> None:
    engine = sqlalchemy_asyncio.create_async_engine(
        url_of(dsn).set(drivername="postgresql+psycopg")
    )
    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=1, max_size=1))
    async with app.open_async(), sqlalchemy_asyncio.AsyncSession(engine) as session:
        connection = await session.connection()
        job = await app.configure_task("t", connection=connection).defer_async(a=1)
        assert await app.job_manager.cancel_job_by_id_async(job, connection=connection)
        await app.configure_task("t", connection=connection).batch_defer_async({"a": 2})
        assert not list(await app.job_manager.list_jobs_async())
        await getattr(session, end)()
        assert len(list(await app.job_manager.list_jobs_async())) == 2 * (end == "commit")
    await engine.dispose()
