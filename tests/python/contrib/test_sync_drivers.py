"""What the sync connectors on psycopg2 have in common, alone and under SQLAlchemy."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from procrastinate import App, exceptions, jobs
from procrastinate.sql import queries

if TYPE_CHECKING:
    from procrastinate import BaseConnector
    from tests.python.contrib.conftest import Make

AT = datetime.datetime(2095, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def app(connector: BaseConnector) -> App:
    app = App(connector=connector)

    @app.task(name="add")
    def add(a: int, b: int) -> int:
        return a + b

    return app


def test_nothing_works_before_it_is_open_and_after_it_is_closed(make: Make, dsn: str) -> None:
    closed = make(dsn)
    for use in (closed.execute_query, closed.execute_query_one, closed.execute_query_all):
        with pytest.raises(exceptions.AppNotOpen):
            use("select 1")
    closed.open()
    closed.open()
    assert closed.execute_query_one("select 1 as one") == {"one": 1}
    closed.close()
    closed.close()
    with pytest.raises(exceptions.AppNotOpen):
        closed.execute_query("select 1")


def test_it_is_its_own_sync_connector(connector: BaseConnector) -> None:
    assert connector.get_sync_connector() is connector


def test_a_job_is_deferred_found_cancelled_and_retried(app: App) -> None:
    job = app.configure_task("add", lock="l", schedule_at=AT, priority=-3).defer(a=1, b=2)

    (found,) = app.job_manager.list_jobs(id=job)
    assert (found.task_kwargs, found.lock, found.priority) == ({"a": 1, "b": 2}, "l", -3)
    assert found.scheduled_at == AT
    assert app.job_manager.get_job_status(job) is jobs.Status.TODO
    assert app.job_manager.cancel_job_by_id(job)
    assert app.job_manager.get_job_status(job) is jobs.Status.CANCELLED
    with pytest.raises(
        exceptions.ConnectorException, match="invalid status to retry"
    ) as raised:
        app.job_manager.retry_job_by_id(job, AT)
    assert "invalid status to retry" in str(raised.value.__cause__)


def test_many_jobs_are_deferred_at_once(app: App) -> None:
    arguments: list[Any] = [{"a": a, "b": 0} for a in range(300)]
    ids = app.tasks["add"].batch_defer(*arguments)

    found = app.job_manager.list_jobs(task="add")
    assert [job.id for job in found] == sorted(ids)
    assert [job.task_kwargs["a"] for job in found] == list(range(300))


def test_a_queueing_lock_that_is_taken_is_told(app: App) -> None:
    defer = app.configure_task("add", queueing_lock="only one").defer
    defer(a=1, b=1)
    with pytest.raises(exceptions.AlreadyEnqueued, match="queueing lock only one") as raised:
        defer(a=2, b=2)
    assert isinstance(raised.value.__cause__, exceptions.UniqueViolation)
    assert raised.value.__cause__.queueing_lock == "only one"


def test_an_unknown_job_has_no_status(app: App) -> None:
    with pytest.raises(exceptions.NoResult):
        app.job_manager.get_job_status(12345)


def test_errors_of_the_driver_are_ours(connector: BaseConnector) -> None:
    with pytest.raises(exceptions.ConnectorException, match="Database error") as raised:
        connector.execute_query("select 1/0")
    assert raised.value.__cause__ is not None
    with pytest.raises(exceptions.NoResult):
        connector.execute_query_one("select 1 where false")
    assert connector.execute_query_all("select 1 as a union select 2 order by 1") == [
        {"a": 1},
        {"a": 2},
    ]


def test_published_queries_take_dictionaries_and_jobs_to_defer(
    connector: BaseConnector, conn: psycopg.Connection
) -> None:
    job: Any = ("q", "t", 2, None, None, {"percent": "100 %", "quote": "'"}, None)
    from procrastinate import types

    rows = connector.execute_query_all(
        queries["defer_jobs"],
        jobs=[types.JobToDefer(*job)],
    )
    assert len(rows) == 1
    row = conn.execute("select args, priority from procrastinate_jobs").fetchone()
    assert row == ({"percent": "100 %", "quote": "'"}, 2)


def test_json_is_written_and_read_by_the_functions_given(make: Make, dsn: str) -> None:
    def dumps(value: Any) -> bytes:
        return json.dumps(value, default=lambda moment: {"moment": moment.isoformat()}).encode()

    def read(value: dict[str, Any]) -> Any:
        if set(value) == {"moment"}:
            return datetime.datetime.fromisoformat(value["moment"])
        return value

    def loads(text: str) -> Any:
        return json.loads(text, object_hook=read)

    connector = make(dsn, json_dumps=dumps, json_loads=loads)
    app = App(connector=connector)
    with app.open():
        arguments: Any = {"at": AT}
        job = app.configure_task("unknown").defer(**arguments)
        (found,) = app.job_manager.list_jobs(id=job)
        assert found.task_kwargs == {"at": AT}
        assert connector.execute_query_one("select %(it)s::jsonb as it", it={"at": AT}) == {
            "it": {"at": AT}
        }


def test_a_connection_that_the_server_ended_is_replaced(
    connector: BaseConnector, conn: psycopg.Connection
) -> None:
    (pid,) = connector.execute_query_one("select pg_backend_pid() as pid").values()
    conn.execute("select pg_terminate_backend(%s, 5000)", [pid])
    try:
        (other,) = connector.execute_query_one("select pg_backend_pid() as pid").values()
    except exceptions.DatabaseUnavailable:  # SQLAlchemy notices, and has another next time
        (other,) = connector.execute_query_one("select pg_backend_pid() as pid").values()
    assert other != pid


def test_what_is_async_is_refused(connector: BaseConnector) -> None:
    with pytest.raises(exceptions.SyncConnectorConfigurationError):
        connector.open_async().send(None)


def test_a_statement_undone_because_of_others_is_sent_again(
    connector: BaseConnector, conn: psycopg.Connection
) -> None:
    conn.execute(
        """
        create sequence tries;
        create or replace function procrastinate_version() returns text
        language plpgsql as $$
        begin
            if nextval('tries') < 3 then
                raise exception 'in the way' using errcode = '40P01';
            end if;
            return 'at last';
        end;
        $$
        """
    )
    from procrastinate.rpc import front

    assert connector.call(front.version()) == "at last"
