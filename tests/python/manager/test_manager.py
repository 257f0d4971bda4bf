"""The job manager: every verb, on a real schema."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from procrastinate import (
    PsycopgConnector,
    SyncPsycopgConnector,
    exceptions,
    jobs,
    manager,
    types,
)
from procrastinate.manager import JobManager

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime.datetime.now(tz=datetime.UTC)
HOUR = datetime.timedelta(hours=1)


def a_job(**options: Any) -> jobs.Job:
    defaults: dict[str, Any] = {
        "queue": "q",
        "task_name": "t",
        "lock": None,
        "queueing_lock": None,
    }
    return jobs.Job(**{**defaults, **options})


@pytest.fixture
async def verbs(dsn: str) -> AsyncIterator[JobManager]:
    """A manager on an async connector."""
    connector = PsycopgConnector(conninfo=dsn, min_size=1)
    await connector.open_async()
    yield JobManager(connector)
    await connector.close_async()


@pytest.fixture
def sync_verbs(dsn: str) -> Iterator[JobManager]:
    """A manager on a sync connector."""
    connector = SyncPsycopgConnector(conninfo=dsn, min_size=1)
    connector.open()
    yield JobManager(connector)
    connector.close()


async def defer(verbs: JobManager, **options: Any) -> int:
    job = await verbs.defer_job_async(a_job(**options))
    assert job.id is not None
    return job.id


async def fetched(verbs: JobManager, **options: Any) -> jobs.Job:
    await defer(verbs, **options)
    job = await verbs.fetch_job(None, await verbs.register_worker())
    assert job is not None
    return job


async def get(verbs: JobManager, job_id: int | None) -> jobs.Job:
    (job,) = await verbs.list_jobs_async(id=job_id)
    return job


def ids(found: Iterable[jobs.Job]) -> list[int | None]:
    return [job.id for job in found]


# Deferring


async def test_a_deferred_job_comes_back_with_its_id_and_status(verbs: JobManager) -> None:
    given = a_job(lock="l", queueing_lock="ql", priority=3, task_kwargs={"a": 1})

    job = await verbs.defer_job_async(given)

    assert job == given.evolve(id=job.id, status="todo")
    assert await get(verbs, job.id) == job


def test_so_it_does_in_sync_code(sync_verbs: JobManager) -> None:
    one = sync_verbs.defer_job(a_job())
    two, three = sync_verbs.batch_defer_jobs([a_job(priority=1), a_job(priority=2)])

    assert sync_verbs.list_jobs() == [one, two, three]


async def test_a_batch_comes_back_in_its_order(verbs: JobManager) -> None:
    found = await verbs.batch_defer_jobs_async([a_job(priority=n) for n in (3, 1, 2)])

    assert [job.priority for job in found] == [3, 1, 2]
    assert list(await verbs.list_jobs_async()) == found
    assert await verbs.batch_defer_jobs_async([]) == []


@pytest.mark.parametrize("lock", ["ql", "q) l", "ü'%s"])
async def test_a_taken_queueing_lock_is_named(verbs: JobManager, lock: str) -> None:
    await defer(verbs, queueing_lock=lock)

    with pytest.raises(exceptions.AlreadyEnqueued) as caught:
        await verbs.defer_job_async(a_job(queueing_lock=lock))

    assert str(caught.value) == (
        "Job cannot be enqueued: there is already a job in the queue with the "
        f"queueing lock {lock}"
    )
    cause = caught.value.__cause__
    assert isinstance(cause, exceptions.UniqueViolation)
    assert cause.constraint_name == manager.QUEUEING_LOCK_CONSTRAINT


def test_a_batch_that_clashes_with_itself_inserts_nothing(sync_verbs: JobManager) -> None:
    with pytest.raises(exceptions.AlreadyEnqueued, match="queueing lock ql"):
        sync_verbs.batch_defer_jobs([a_job(), a_job(queueing_lock="ql")] * 2)

    assert sync_verbs.list_jobs() == []


async def test_another_unique_violation_is_not_taken_for_a_queueing_lock(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    conn.execute("create unique index users_own on procrastinate_jobs (task_name)")
    await defer(verbs)

    with pytest.raises(exceptions.UniqueViolation) as caught:
        await defer(verbs)

    assert caught.value.constraint_name == "users_own"
    assert caught.value.queueing_lock is None


async def test_jobs_join_the_callers_transaction(verbs: JobManager, aconnect: Any) -> None:
    own = await aconnect(autocommit=False)

    job = await verbs.defer_job_async(a_job(), connection=own)
    assert job.id is not None
    status = await verbs.get_job_status_async(job.id, connection=own)
    assert status is jobs.Status.TODO
    assert await verbs.cancel_job_by_id_async(job.id, connection=own) is True
    await own.rollback()

    assert list(await verbs.list_jobs_async()) == []


def test_so_they_do_in_sync_code(sync_verbs: JobManager, connect: Any) -> None:
    own = connect(autocommit=False)

    (job,) = sync_verbs.batch_defer_jobs([a_job()], connection=own)
    assert job.id is not None
    assert sync_verbs.get_job_status(job.id, connection=own) is jobs.Status.TODO
    assert sync_verbs.cancel_job_by_id(job.id, connection=own) is True
    own.rollback()

    assert sync_verbs.list_jobs() == []


async def test_a_periodic_job_is_deferred_once(verbs: JobManager) -> None:
    job = a_job(task_kwargs={"timestamp": 5})

    job_id = await verbs.defer_periodic_job(job=job, periodic_id="p", defer_timestamp=5)

    assert (await get(verbs, job_id)).task_kwargs == {"timestamp": 5}
    assert await verbs.defer_periodic_job(job=job, periodic_id="p", defer_timestamp=5) is None
    assert await verbs.defer_periodic_job(job=job, periodic_id="q", defer_timestamp=5)


@pytest.mark.parametrize("task_kwargs", [{"timestamp": 4}, {}])
async def test_a_periodic_jobs_timestamp_is_that_of_its_tick(
    verbs: JobManager, task_kwargs: types.JSONDict
) -> None:
    with pytest.raises(exceptions.InvalidTimestamp):
        await verbs.defer_periodic_job(
            job=a_job(task_kwargs=task_kwargs), periodic_id="p", defer_timestamp=5
        )

    assert await verbs.list_jobs_async() == []


async def test_a_periodic_job_whose_queueing_lock_is_taken_leaves_its_tick(
    verbs: JobManager,
) -> None:
    waiting = await defer(verbs, queueing_lock="ql")
    job = a_job(queueing_lock="ql", task_kwargs={"timestamp": 5})

    with pytest.raises(exceptions.AlreadyEnqueued, match="queueing lock ql"):
        await verbs.defer_periodic_job(job=job, periodic_id="p", defer_timestamp=5)

    await verbs.cancel_job_by_id_async(waiting)
    assert await verbs.defer_periodic_job(job=job, periodic_id="p", defer_timestamp=5)


# Running


async def test_a_fetched_job_is_in_doing_under_its_worker(verbs: JobManager) -> None:
    worker_id = await verbs.register_worker()
    job_id = await defer(verbs, task_kwargs={"a": [1]})

    assert await verbs.fetch_job(["other"], worker_id) is None
    job = await verbs.fetch_job(("q",), worker_id)

    assert job is not None
    assert (job.id, job.status, job.worker_id) == (job_id, "doing", worker_id)
    assert job.task_kwargs == {"a": [1]}
    assert await verbs.fetch_job(None, worker_id) is None


async def test_a_worker_that_is_not_registered_fetches_nothing(verbs: JobManager) -> None:
    await defer(verbs)
    with pytest.raises(exceptions.ConnectorException):
        await verbs.fetch_job(None, 10**9)


async def test_a_job_is_finished(verbs: JobManager) -> None:
    kept, deleted, by_id = [await fetched(verbs) for _ in range(3)]
    assert by_id.id is not None

    await verbs.finish_job(kept, jobs.Status.FAILED, delete_job=False)
    await verbs.finish_job(deleted, jobs.Status.SUCCEEDED, delete_job=True)
    await verbs.finish_job_by_id_async(by_id.id, jobs.Status.ABORTED, delete_job=False)

    assert [(job.id, job.status) for job in await verbs.list_jobs_async()] == [
        (kept.id, "failed"),
        (by_id.id, "aborted"),
    ]
    with pytest.raises(exceptions.ConnectorException) as caught:
        await verbs.finish_job(kept, jobs.Status.FAILED, delete_job=False)
    assert f'Job was not found or not in "doing" or "todo" status (job id: {kept.id})' in str(
        caught.value.__cause__
    )


async def test_a_job_is_retried_with_what_is_given(verbs: JobManager) -> None:
    job = await fetched(verbs, priority=1, lock="l")
    assert job.id is not None

    await verbs.retry_job(job)
    again = await get(verbs, job.id)
    assert (again.status, again.attempts, again.lock) == ("todo", 1, "l")
    assert again.scheduled_at is not None
    assert abs(again.scheduled_at - datetime.datetime.now(tz=datetime.UTC)) < HOUR

    with pytest.raises(exceptions.ConnectorException) as caught:
        await verbs.retry_job_by_id_async(job.id, NOW)
    assert f"Job was not found or has an invalid status to retry (job id: {job.id})" in str(
        caught.value.__cause__
    )


async def test_a_failed_job_is_retried_by_its_id(
    verbs: JobManager, sync_verbs: JobManager
) -> None:
    for retry in ("async", "sync"):
        job = await fetched(verbs)
        assert job.id is not None
        await verbs.finish_job(job, jobs.Status.FAILED, delete_job=False)
        options: dict[str, Any] = {"priority": 7, "queue": "slow", "lock": "other"}
        if retry == "async":
            await verbs.retry_job_by_id_async(job.id, NOW + HOUR, **options)
        else:
            sync_verbs.retry_job_by_id(job.id, NOW + HOUR, **options)
        again = await get(verbs, job.id)
        assert (again.status, again.priority, again.queue, again.lock, again.attempts) == (
            "todo",
            7,
            "slow",
            "other",
            2,
        )
        assert again.scheduled_at == NOW + HOUR


async def test_a_retry_whose_queueing_lock_is_taken_is_refused(verbs: JobManager) -> None:
    job = await fetched(verbs, queueing_lock="ql")
    assert job.id is not None
    await verbs.finish_job(job, jobs.Status.FAILED, delete_job=False)
    await defer(verbs, queueing_lock="ql")

    with pytest.raises(exceptions.UniqueViolation) as caught:
        await verbs.retry_job_by_id_async(job.id, NOW)

    assert caught.value.queueing_lock == "ql"
    assert await verbs.get_job_status_async(job.id) is jobs.Status.FAILED


async def test_waiting_jobs_are_cancelled_and_running_ones_asked(verbs: JobManager) -> None:
    running = await fetched(verbs)
    assert running.id is not None
    kept, deleted = await defer(verbs), await defer(verbs)

    assert await verbs.cancel_job_by_id_async(kept) is True
    assert await verbs.cancel_job_by_id_async(kept) is False
    assert await verbs.cancel_job_by_id_async(deleted, delete_job=True) is True
    assert await verbs.cancel_job_by_id_async(running.id) is False
    assert await verbs.cancel_job_by_id_async(running.id, abort=True) is True
    assert await verbs.cancel_job_by_id_async(10**9) is False

    assert await verbs.get_job_status_async(kept) is jobs.Status.CANCELLED
    assert ids(await verbs.list_jobs_async()) == [running.id, kept]
    assert list(await verbs.list_jobs_to_abort_async()) == [running.id]
    assert list(await verbs.list_jobs_to_abort_async(queue="q")) == [running.id]
    assert list(await verbs.list_jobs_to_abort_async(queue="other")) == []


def test_so_they_are_in_sync_code(sync_verbs: JobManager) -> None:
    job_id = sync_verbs.defer_job(a_job()).id
    assert job_id is not None
    assert sync_verbs.cancel_job_by_id(job_id, delete_job=True) is True
    assert sync_verbs.cancel_job_by_id(job_id, abort=True) is False


# Asking


async def test_the_status_of_a_job_that_is_not_there_is_no_result(
    verbs: JobManager, sync_verbs: JobManager
) -> None:
    with pytest.raises(exceptions.NoResult):
        await verbs.get_job_status_async(10**9)
    with pytest.raises(exceptions.NoResult):
        sync_verbs.get_job_status(10**9)


async def test_jobs_are_listed_by_id_through_filters_that_all_hold(
    verbs: JobManager, sync_verbs: JobManager
) -> None:
    running = await fetched(verbs, queue="a", lock="l")
    second = await defer(verbs, queue="a", task_name="u", queueing_lock="ql")
    third = await defer(verbs, queue="b", task_name="u", lock="l", priority=9)

    cases: list[tuple[dict[str, Any], list[int | None]]] = [
        ({}, [running.id, second, third]),
        ({"id": second}, [second]),
        ({"queue": "a"}, [running.id, second]),
        ({"task": "u"}, [second, third]),
        ({"status": "doing"}, [running.id]),
        ({"lock": "l"}, [running.id, third]),
        ({"queueing_lock": "ql"}, [second]),
        ({"worker_id": running.worker_id}, [running.id]),
        ({"queue": "a", "task": "u"}, [second]),
        ({"queue": "b", "lock": "other"}, []),
    ]
    for filters, expected in cases:
        assert ids(await verbs.list_jobs_async(**filters)) == expected
        assert ids(sync_verbs.list_jobs(**filters)) == expected


def count(name: str, **statuses: int) -> dict[str, Any]:
    zeros = dict.fromkeys(("todo", "doing", "succeeded", "failed", "cancelled", "aborted"), 0)
    return {"name": name, "jobs_count": sum(statuses.values()), **zeros, **statuses}


async def test_jobs_are_counted_by_queue_task_and_lock(
    verbs: JobManager, sync_verbs: JobManager
) -> None:
    for end in (jobs.Status.SUCCEEDED, jobs.Status.FAILED, jobs.Status.ABORTED):
        job = await fetched(verbs, queue="a", task_name="t1")
        await verbs.finish_job(job, end, delete_job=False)
    await verbs.cancel_job_by_id_async(await defer(verbs, queue="a", task_name="t1"))
    await fetched(verbs, queue="b", task_name="t2", lock="l")
    await defer(verbs, queue="b", task_name="t2", lock="m")
    ended = {"succeeded": 1, "failed": 1, "aborted": 1, "cancelled": 1}

    assert list(await verbs.list_queues_async()) == [
        count("a", **ended),
        count("b", doing=1, todo=1),
    ]
    assert list(await verbs.list_tasks_async()) == [
        count("t1", **ended),
        count("t2", doing=1, todo=1),
    ]
    assert list(await verbs.list_locks_async()) == [count("l", doing=1), count("m", todo=1)]
    filters: list[dict[str, Any]] = [
        {},
        {"queue": "b"},
        {"task": "t1"},
        {"status": "todo"},
        {"lock": "l"},
        {"queue": "a", "lock": "l"},
    ]
    names = [["a", "b"], ["b"], ["a"], ["b"], ["b"], []]
    for options, expected in zip(filters, names, strict=True):
        found = list(await verbs.list_queues_async(**options))
        assert [one["name"] for one in found] == expected
        assert list(sync_verbs.list_queues(**options)) == found
        tasks = list(await verbs.list_tasks_async(**options))
        assert list(sync_verbs.list_tasks(**options)) == tasks
        assert len(tasks) == len(expected)
        locks = list(await verbs.list_locks_async(**options))
        assert list(sync_verbs.list_locks(**options)) == locks


async def test_jobs_of_workers_that_are_silent_or_gone_are_stalled(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    silent = await fetched(verbs, queue="a")
    gone = await fetched(verbs, task_name="u")
    await fetched(verbs)
    conn.execute(
        "update procrastinate_workers set last_heartbeat = now() - interval '40 seconds' "
        "where id = %s",
        [silent.worker_id],
    )
    assert gone.worker_id is not None
    await verbs.unregister_worker(gone.worker_id)

    assert ids(await verbs.get_stalled_jobs()) == [silent.id, gone.id]
    assert ids(await verbs.get_stalled_jobs(seconds_since_heartbeat=50)) == [gone.id]
    assert ids(await verbs.get_stalled_jobs(queue="a")) == [silent.id]
    assert ids(await verbs.get_stalled_jobs(task_name="u")) == [gone.id]


async def test_long_running_jobs_are_found_the_deprecated_way(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    job = await fetched(verbs)
    with pytest.warns(DeprecationWarning, match="nb_seconds"):
        assert ids(await verbs.get_stalled_jobs(nb_seconds=60)) == []
    with pytest.warns(DeprecationWarning, match="nb_seconds"):
        assert ids(await verbs.get_stalled_jobs(nb_seconds=0)) == [job.id]


async def test_the_main_table_is_looked_for(
    verbs: JobManager, sync_verbs: JobManager, empty_dsn: str
) -> None:
    assert await verbs.check_connection_async() is True
    assert sync_verbs.check_connection() is True
    connector = SyncPsycopgConnector(conninfo=empty_dsn, min_size=1)
    connector.open()
    try:
        assert JobManager(connector).check_connection() is False
    finally:
        connector.close()


# Keeping house


async def test_workers_come_beat_and_go(verbs: JobManager, conn: psycopg.Connection) -> None:
    first, second = await verbs.register_worker(), await verbs.register_worker()
    conn.execute(
        "update procrastinate_workers set last_heartbeat = now() - interval '40 seconds'"
    )
    await verbs.update_heartbeat(second)
    await verbs.update_heartbeat(10**9)

    assert await verbs.prune_stalled_workers(50) == []
    assert await verbs.prune_stalled_workers(30.5) == [first]
    await verbs.unregister_worker(second)
    assert conn.execute("select count(*) from procrastinate_workers").fetchone() == (0,)


# Listening


@pytest.mark.parametrize("queues", [None, ["q"], ("other", "q"), ["q" * 60]])
async def test_notifications_arrive_as_dictionaries(
    verbs: JobManager, conn: psycopg.Connection, queues: list[str] | None
) -> None:
    heard: asyncio.Queue[tuple[str, jobs.Notification]] = asyncio.Queue()

    async def on_notification(*, channel: str, notification: jobs.Notification) -> None:
        await heard.put((channel, notification))

    task = asyncio.create_task(
        verbs.listen_for_jobs(on_notification=on_notification, queues=queues)
    )
    async with asyncio.timeout(10):
        while not conn.execute(  # noqa: ASYNC110 (the server has no event for it)
            "select 1 from pg_stat_activity where query ilike 'listen%' and state = 'idle' "
            "and datname = current_database()"
        ).fetchone():
            await asyncio.sleep(0.002)
        queue = queues[-1] if queues else "q"
        job_id = await defer(verbs, queue=queue)
        channel, notification = await heard.get()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert notification == {"type": "job_inserted", "job_id": job_id}
    assert channel in (
        list(manager.get_channel_for_queues(queues)) if len(queue) < 40 else [channel]
    )


def test_the_channels_of_3_x_are_known() -> None:
    assert list(manager.get_channel_for_queues()) == ["procrastinate_any_queue_v1"]
    assert list(manager.get_channel_for_queues(["a", "b"])) == [
        "procrastinate_queue_v1#a",
        "procrastinate_queue_v1#b",
    ]
