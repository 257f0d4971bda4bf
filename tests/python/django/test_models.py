"""The models: what they show, and that they only show it."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django import db, test

from procrastinate import utils
from procrastinate.contrib.django import app, exceptions, models
from tests.python.django.project.shop import models as shop_models
from tests.python.django.project.shop import tasks

pytestmark = pytest.mark.usefixtures("shop")

READ_ONLY = (
    "Procrastinate models exposed in Django, such as ProcrastinateJob are read-only. "
    "Please use the procrastinate CLI to interact with jobs."
)


def test_a_job_is_a_row_with_its_events() -> None:
    schedule = utils.utcnow() + datetime.timedelta(days=1)
    job_id = tasks.count_stock.configure(schedule_at=schedule, priority=2).defer()

    job = models.ProcrastinateJob.objects.get(pk=job_id)

    assert str(job) == f"tests.python.django.project.shop.tasks.count_stock[{job_id}]()"
    assert job.procrastinate_job == app.job_manager.list_jobs()[0]
    assert (job.queue_name, job.lock, job.queueing_lock) == ("slow", "stock", "count")
    assert (job.status, job.priority, job.attempts) == ("todo", 2, 0)
    assert job.worker is None
    events = job.procrastinateevent_set.order_by("pk")
    assert [event.type for event in events] == ["scheduled", "deferred"]
    assert job.procrastinateevent_set.latest().type == "scheduled"
    assert str(events[1]) == f"Event {events[1].pk} - Job {job_id}: deferred at {events[1].at}"


def test_a_worker_says_when_it_last_gave_a_sign() -> None:
    with db.connection.cursor() as cursor:
        cursor.execute("insert into procrastinate_workers (last_heartbeat) values (now())")

    worker = models.ProcrastinateWorker.objects.get()

    assert str(worker) == f"Worker {worker.pk} - Last heartbeat at {worker.last_heartbeat}"


def test_a_periodic_defer_leads_to_its_job() -> None:
    app.connector.execute_query_one(
        "select procrastinate_defer_periodic_job_v2('q', null, null, 'task', 0, 'id', 60, '{}')"
    )

    job = models.ProcrastinateJob.objects.get()

    defer = job.procrastinateperiodicdefer_set.get()
    assert (defer.task_name, defer.periodic_id, defer.defer_timestamp) == ("task", "id", 60)
    assert models.ProcrastinatePeriodicDefer.objects.get() == defer


def test_statuses_and_types_are_those_of_the_database() -> None:
    assert models.ProcrastinateJob.STATUSES == (
        "todo",
        "doing",
        "succeeded",
        "failed",
        "cancelled",
        "aborted",
    )
    assert "retried" not in models.ProcrastinateEvent.TYPES


@pytest.mark.parametrize(
    "model",
    [models.ProcrastinateJob, models.ProcrastinateEvent, models.ProcrastinateWorker],
)
def test_a_manager_writes_nothing(model: Any) -> None:
    verbs = "create update delete bulk_create bulk_update get_or_create update_or_create"
    for verb in verbs.split():
        for colour in ("", "a"):
            with pytest.raises(exceptions.ReadOnlyModel) as raised:
                getattr(model.objects, f"{colour}{verb}")()
            assert str(raised.value) == READ_ONLY


def test_a_row_is_neither_saved_nor_deleted() -> None:
    tasks.send.defer(order="tea")
    job = models.ProcrastinateJob.objects.get()
    for refused in (job.save, job.delete, job.procrastinateevent_set.create):
        with pytest.raises(exceptions.ReadOnlyModel):
            refused()
    with pytest.raises(exceptions.ReadOnlyModel):
        models.ProcrastinatePeriodicDefer(task_name="a").save()
    assert models.ProcrastinateJob.objects.count() == 1


@test.override_settings(PROCRASTINATE_READONLY_MODELS=False)
def test_a_project_may_write_rows_if_it_says_so() -> None:
    job = models.ProcrastinateJob.objects.create(
        queue_name="default",
        task_name="task",
        priority=0,
        args={"a": 1},
        status="todo",
        attempts=0,
        abort_requested=False,
    )
    assert app.job_manager.list_jobs()[0] == job.procrastinate_job

    job.priority = 5
    job.save()
    assert app.job_manager.list_jobs()[0].priority == 5

    job.delete()
    assert app.job_manager.list_jobs() == []


def test_a_queryset_writes_as_it_always_did() -> None:
    tasks.send.defer(order="tea")
    models.ProcrastinateJob.objects.filter(status="todo").update(priority=7)
    assert app.job_manager.list_jobs()[0].priority == 7

    models.ProcrastinateJob.objects.all().delete()
    assert app.job_manager.list_jobs() == []


def test_a_relation_of_the_projects_outlives_the_job() -> None:
    job_id = tasks.send.defer(order="tea")
    order = shop_models.Order.objects.create(name="tea", job_id=job_id)

    models.ProcrastinateJob.objects.filter(pk=job_id).delete()

    order.refresh_from_db()
    assert order.job is None
