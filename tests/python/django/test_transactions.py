"""A job that is deferred belongs to the transaction that the project has under way."""

from __future__ import annotations

import asyncio
import datetime

import psycopg
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django import db, test
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction

from procrastinate import exceptions, jobs
from procrastinate.contrib.django import app, models
from tests.python.django.project.shop import models as shop_models
from tests.python.django.project.shop import tasks, views

pytestmark = pytest.mark.usefixtures("shop")


def names() -> list[str]:
    arguments = models.ProcrastinateJob.objects.values_list("args", flat=True)
    return sorted(each["order"] for each in arguments)


def seen_by_others(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select count(*) from procrastinate_jobs").fetchone()
    assert row
    return int(row[0])


def test_a_view_that_commits_has_deferred(client: test.Client) -> None:
    response = client.get("/order/", {"name": "tea"})

    (job,) = models.ProcrastinateJob.objects.all()
    assert response.content.decode() == str(job.pk)
    assert shop_models.Order.objects.get().job == job


def test_a_view_that_fails_has_never_deferred(client: test.Client) -> None:
    with pytest.raises(views.RefusedError):
        client.get("/order/", {"name": "tea", "fail": "1"})

    assert names() == []
    assert not shop_models.Order.objects.exists()


def test_a_job_is_seen_by_others_when_the_block_commits_and_not_before(shop: str) -> None:
    with transaction.atomic():
        tasks.send.defer(order="tea")
        assert seen_by_others(shop) == 0
    assert seen_by_others(shop) == 1


def test_atomic_requests_roll_back_what_a_view_deferred(
    client: test.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.raise_request_exception = False
    monkeypatch.setitem(db.connections["default"].settings_dict, "ATOMIC_REQUESTS", True)

    assert client.get("/order-then-fail/", {"name": "tea"}).status_code == 500
    assert names() == []

    monkeypatch.setitem(db.connections["default"].settings_dict, "ATOMIC_REQUESTS", False)
    assert client.get("/order-then-fail/", {"name": "tea"}).status_code == 500
    assert names() == ["tea"]


async def test_an_async_view_defers(async_client: test.AsyncClient) -> None:
    response = await async_client.get("/order-async/", {"name": "tea"})

    job = await models.ProcrastinateJob.objects.aget()
    assert response.content.decode() == str(job.pk)


async def test_a_sync_defer_in_a_loop_is_refused_in_djangos_words() -> None:
    with pytest.raises(SynchronousOnlyOperation):
        tasks.send.defer(order="tea")


async def test_sync_code_of_an_async_view_joins_its_own_transaction() -> None:
    def order() -> None:
        with transaction.atomic():
            tasks.send.defer(order="tea")
            async_to_sync(tasks.send.defer_async)(order="coffee")
            raise views.RefusedError

    with pytest.raises(views.RefusedError):
        await sync_to_async(order)()

    assert await sync_to_async(names)() == []


async def test_async_defers_made_at_once_are_all_there() -> None:
    await asyncio.gather(*(tasks.send.defer_async(order=str(number)) for number in range(5)))

    assert await sync_to_async(names)() == ["0", "1", "2", "3", "4"]


def test_a_batch_is_part_of_the_transaction() -> None:
    with transaction.atomic():
        tasks.send.batch_defer({"order": "tea"}, {"order": "coffee"})
        transaction.set_rollback(True)

    assert names() == []
    assert len(tasks.send.batch_defer({"order": "tea"}, {"order": "coffee"})) == 2
    assert names() == ["coffee", "tea"]


def test_a_queueing_lock_that_is_taken_breaks_the_transaction() -> None:
    tasks.count_stock.defer()

    def order() -> None:
        with transaction.atomic():
            with pytest.raises(exceptions.AlreadyEnqueued):
                tasks.count_stock.defer()
            tasks.send.defer(order="tea")

    with pytest.raises(exceptions.ConnectorException) as raised:
        order()

    assert isinstance(raised.value.__cause__, db.InternalError)
    assert "transaction is aborted" in str(raised.value.__cause__)
    assert models.ProcrastinateJob.objects.count() == 1


def test_a_savepoint_keeps_the_transaction_from_a_queueing_lock_that_is_taken() -> None:
    tasks.count_stock.defer()

    with transaction.atomic():
        with (
            pytest.raises(exceptions.AlreadyEnqueued, match="queueing lock count"),
            transaction.atomic(),
        ):
            tasks.count_stock.defer()
        tasks.send.defer(order="tea")

    assert models.ProcrastinateJob.objects.count() == 2


async def test_an_async_defer_says_that_the_queueing_lock_is_taken() -> None:
    await tasks.count_stock.defer_async()

    with pytest.raises(exceptions.AlreadyEnqueued):
        await tasks.count_stock.defer_async()


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_connection_of_the_callers_is_refused(colour: str) -> None:
    deferrer = tasks.send.configure(connection=object())
    defer = deferrer.defer if colour == "sync" else async_to_sync(deferrer.defer_async)
    refusal = "DjangoConnector does not support external connections"
    with pytest.raises(exceptions.ConnectorException, match=refusal):
        defer(order="tea")


async def test_queries_of_the_project_run_on_djangos_connection_in_both_colours() -> None:
    connector = app.connector
    job_id = await tasks.send.defer_async(order="tea")
    query = "select id from procrastinate_jobs where priority = %(priority)s"

    await connector.execute_query_async("update procrastinate_jobs set priority = 3")

    assert await connector.execute_query_one_async(query, priority=3) == {"id": job_id}
    assert await connector.execute_query_all_async(query, priority=4) == []
    with pytest.raises(exceptions.NoResult):
        await connector.execute_query_one_async(query, priority=4)


def test_a_connection_of_the_callers_is_refused_for_queries_too() -> None:
    refusal = "DjangoConnector does not support external connections"
    for run in (
        app.connector.execute_query_one_with_connection,
        app.connector.execute_query_all_with_connection,
    ):
        with pytest.raises(exceptions.ConnectorException, match=refusal):
            run(object(), "select 1")


def test_the_manager_reads_jobs_as_it_does_elsewhere() -> None:
    configured = tasks.send.configure(priority=3, schedule_in={"hours": 1})
    job_id = configured.defer(order="täglich")

    (job,) = app.job_manager.list_jobs(id=job_id)

    assert isinstance(job, jobs.Job)
    assert job.task_kwargs == {"order": "täglich"}
    assert job.scheduled_at is not None
    assert job.scheduled_at.tzinfo is not None
    assert job == models.ProcrastinateJob.objects.get().procrastinate_job


def test_a_project_without_timezones_reads_the_same_moment() -> None:
    moment = datetime.datetime(2030, 7, 1, 12, tzinfo=datetime.UTC)
    job_id = tasks.send.configure(schedule_at=moment).defer(order="tea")

    with test.override_settings(USE_TZ=False, TIME_ZONE="America/Chicago"):
        (job,) = app.job_manager.list_jobs(id=job_id)
        row = models.ProcrastinateJob.objects.get()
        assert row.procrastinate_job.scheduled_at == moment

    assert row.scheduled_at == moment.replace(hour=7, tzinfo=None)
    assert job.scheduled_at == moment
