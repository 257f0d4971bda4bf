"""Workers of a project: on which connector they run, and how they leave connections."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django import db
from django.db import transaction

from procrastinate import exceptions
from procrastinate.contrib.django import app, db_cleanup, django_connector, models
from procrastinate.rpc import errors
from tests.python.django.project.shop import models as shop_models
from tests.python.django.project.shop import tasks

pytestmark = pytest.mark.usefixtures("shop")


def run_worker(**options: Any) -> None:
    connector = app.connector
    assert isinstance(connector, django_connector.DjangoConnector)
    with app.replace_connector(connector.get_worker_connector()):
        app.run_worker(
            wait=False, install_signal_handlers=False, listen_notify=False, **options
        )


def statuses() -> dict[int, str]:
    return dict(models.ProcrastinateJob.objects.values_list("pk", "status"))


def connections_to(name: str) -> int:
    """How many sessions the project's ORM has, this one and those of the worker apart."""
    with db.connection.cursor() as cursor:
        cursor.execute(
            "select count(*) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid() "
            "and application_name = %s",
            [name],
        )
        return int(cursor.fetchone()[0])


def test_a_worker_on_its_own_connector_runs_sync_and_async_tasks() -> None:
    sent, counted = tasks.send.defer(order="tea"), tasks.count_stock.defer()
    failed = tasks.fail.defer(reason="no")

    run_worker(concurrency=3)

    assert statuses() == {sent: "succeeded", counted: "succeeded", failed: "failed"}
    assert shop_models.Order.objects.get().name == "tea"


def test_a_worker_on_djangos_connections_stops_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks.send.defer(order="tea")

    app.run_worker(wait=True, install_signal_handlers=False)

    assert "listen/notify is not supported with Django connector" in caplog.text
    assert set(statuses().values()) == {"todo"}


def test_a_task_leaves_no_connection_open() -> None:
    tasks.send.defer(order="tea")
    tasks.count_stock.defer()

    seen: list[bool] = []

    def look(call_next: Any, context: Any, worker: Any) -> Any:
        result = call_next()
        seen.append(db.connection.connection is None)
        return result

    run_worker(task_middleware=[look])
    assert seen == [True]


def test_conn_max_age_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(db.connections.settings["default"], "CONN_MAX_AGE", 60)
    tasks.send.defer(order="tea")
    tasks.send.defer(order="coffee")
    seen: list[Any] = []

    def look(call_next: Any, context: Any, worker: Any) -> Any:
        result = call_next()
        seen.append(db.connection.connection)
        return result

    def close(call_next: Any, context: Any, worker: Any) -> Any:
        result = call_next()
        if len(seen) == 2:
            db.connections.close_all()
        return result

    run_worker(task_middleware=[close, look])

    assert seen[0] is seen[1]
    assert seen[0] is not None


def test_a_connection_that_broke_is_not_met_by_the_next_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(db.connections.settings["default"], "CONN_MAX_AGE", None)
    broken, after = tasks.lose_connection.defer(), tasks.send.defer(order="tea")

    def close(call_next: Any, context: Any, worker: Any) -> Any:
        try:
            return call_next()
        finally:
            if context.job.id == after:
                db.connections.close_all()

    run_worker(task_middleware=[close])

    assert statuses() == {broken: "failed", after: "succeeded"}


async def test_async_code_loses_the_connection_that_may_not_stay() -> None:
    async def call_next() -> str:
        await models.ProcrastinateJob.objects.acount()
        return "done"

    cleanup: Any = db_cleanup.close_db_connections_async
    assert await cleanup(call_next, None, None) == "done"

    assert await sync_to_async(lambda: db.connection.connection)() is None


@pytest.mark.parametrize("owner", ["queue", "caller"])
def test_a_deadlock_is_tried_again_where_the_statement_stands_alone(
    monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    with db.connection.cursor() as cursor:
        cursor.execute("create sequence tries")
        cursor.execute(
            "create function deadlock_once() returns trigger language plpgsql as $$ begin "
            "if nextval('tries') < 3 then raise exception 'x' using errcode = '40P01'; end if; "
            "return new; end $$; "
            "create trigger deadlock before insert on procrastinate_jobs "
            "for each row execute function deadlock_once()"
        )
    try:
        if owner == "queue":
            assert tasks.send.defer(order="tea")
        else:
            with (
                pytest.raises(exceptions.DatabaseUnavailable),
                transaction.atomic(),
            ):
                tasks.send.defer(order="tea")
    finally:
        with db.connection.cursor() as cursor:
            cursor.execute("drop function deadlock_once() cascade; drop sequence tries")
    assert errors.MAX_TRIES == 4
