"""What the manager's verbs make of a job, status by status, in 3.10's words."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from procrastinate import App, PsycopgConnector, exceptions, jobs
from procrastinate.manager import JobManager

NOW = datetime.datetime.now(tz=datetime.UTC)


@pytest.fixture
async def verbs(dsn: str) -> AsyncIterator[JobManager]:
    """A manager on an async connector."""
    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=1))
    async with app.open_async():
        yield app.job_manager


async def defer(verbs: JobManager, **options: Any) -> int:
    new = jobs.Job(queue="q", task_name="t", lock=None, queueing_lock=None, **options)
    job = await verbs.defer_job_async(new)
    assert job.id is not None
    return job.id


async def fetch(verbs: JobManager) -> jobs.Job:
    job = await verbs.fetch_job(None, await verbs.register_worker())
    assert job is not None
    return job


async def get(verbs: JobManager, job_id: int | None) -> jobs.Job:
    (job,) = await verbs.list_jobs_async(id=job_id)
    return job


def history(conn: psycopg.Connection, job_id: int) -> list[str]:
    rows = conn.execute(
        "select type::text from procrastinate_events where job_id = %s order by id", [job_id]
    )
    return [row[0] for row in rows]


async def test_a_job_that_is_to_end_before_it_began_has_a_cancelled_event_and_no_attempt(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    job_id = await defer(verbs)

    await verbs.finish_job_by_id_async(job_id, jobs.Status.SUCCEEDED, delete_job=False)

    job = await get(verbs, job_id)
    assert (job.status, job.attempts) == ("succeeded", 0)
    assert history(conn, job_id) == ["deferred", "cancelled"]


@pytest.mark.parametrize("status", [jobs.Status.TODO, jobs.Status.CANCELLED, jobs.Status.DOING])
async def test_a_job_can_not_end_in_a_status_that_is_no_end(
    verbs: JobManager, status: jobs.Status
) -> None:
    job_id = await defer(verbs)
    job = await fetch(verbs)

    with pytest.raises(exceptions.ConnectorException) as caught:
        await verbs.finish_job(job, status, delete_job=False)

    assert str(caught.value.__cause__).startswith(
        f'End status should be either "succeeded", "failed" or "aborted" (job id: {job_id})'
    )
    assert (await get(verbs, job_id)).status == "doing"


async def test_aborting_a_waiting_job_cancels_it_and_leaves_the_request(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    job_id = await defer(verbs)

    assert await verbs.cancel_job_by_id_async(job_id, abort=True) is True

    job = await get(verbs, job_id)
    assert (job.status, job.abort_requested) == ("cancelled", True)
    assert sorted(history(conn, job_id)) == ["abort_requested", "cancelled", "deferred"]


async def test_the_end_of_a_job_forgets_that_it_was_asked_to_abort(verbs: JobManager) -> None:
    job_id = await defer(verbs)
    job = await fetch(verbs)
    await verbs.cancel_job_by_id_async(job_id, abort=True)
    assert (await get(verbs, job_id)).abort_requested is True

    await verbs.finish_job(job, jobs.Status.ABORTED, delete_job=False)

    assert (await get(verbs, job_id)).abort_requested is False


@pytest.mark.parametrize("status", ["succeeded", "cancelled", "aborted", "todo"])
async def test_only_running_and_failed_jobs_are_retried(
    verbs: JobManager, conn: psycopg.Connection, status: str
) -> None:
    job_id = await defer(verbs)
    if status == "cancelled":
        await verbs.cancel_job_by_id_async(job_id)
    elif status != "todo":
        await verbs.finish_job(await fetch(verbs), jobs.Status(status), delete_job=False)
    before = await get(verbs, job_id)

    with pytest.raises(exceptions.ConnectorException) as caught:
        await verbs.retry_job_by_id_async(job_id, NOW)

    said = f"Job was not found or has an invalid status to retry (job id: {job_id})"
    assert str(caught.value) == said
    assert str(caught.value.__cause__).startswith(said)
    assert await get(verbs, job_id) == before


async def test_retrying_a_running_job_that_was_asked_to_abort_fails_it(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    job_id = await defer(verbs)
    running = await fetch(verbs)
    await verbs.cancel_job_by_id_async(job_id, abort=True)

    await verbs.retry_job(running)

    job = await get(verbs, job_id)
    assert (job.status, job.attempts, job.abort_requested) == ("failed", 0, True)
    assert job.worker_id == running.worker_id
    assert history(conn, job_id) == ["deferred", "started", "abort_requested", "failed"]


async def test_a_manual_retry_counts_one_more_attempt(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    job_id = await defer(verbs)
    await verbs.finish_job(await fetch(verbs), jobs.Status.FAILED, delete_job=False)
    assert (await get(verbs, job_id)).attempts == 1

    await verbs.retry_job_by_id_async(job_id, NOW)

    assert (await get(verbs, job_id)).attempts == 2
    assert history(conn, job_id) == ["deferred", "started", "failed", "scheduled", "retried"]


async def test_the_jobs_of_a_pruned_worker_go_on_without_one(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    job_id = await defer(verbs)
    running = await fetch(verbs)
    conn.execute("update procrastinate_workers set last_heartbeat = now() - interval '1 day'")

    assert await verbs.prune_stalled_workers(30) == [running.worker_id]

    job = await get(verbs, job_id)
    assert (job.status, job.worker_id) == ("doing", None)
    assert [job.id for job in await verbs.get_stalled_jobs()] == [job_id]


async def test_counts_have_the_published_keys_and_locks_skip_jobs_without_one(
    verbs: JobManager,
) -> None:
    await defer(verbs)
    keys = [
        "aborted",
        "cancelled",
        "doing",
        "failed",
        "jobs_count",
        "name",
        "succeeded",
        "todo",
    ]

    (queue,) = await verbs.list_queues_async()
    (task,) = await verbs.list_tasks_async()

    assert sorted(queue) == sorted(task) == keys
    assert (queue["name"], task["name"], queue["jobs_count"], queue["todo"]) == ("q", "t", 1, 1)
    assert list(await verbs.list_locks_async()) == []


def test_a_database_that_can_not_be_reached_is_a_connector_exception() -> None:
    connector = PsycopgConnector(
        conninfo="host=/nowhere dbname=none", timeout=0.2, min_size=0, max_size=1
    )
    app = App(connector=connector)

    with app.open(), pytest.raises(exceptions.ConnectorException):
        app.check_connection()
