"""What a test that defers jobs sees of the memory connector."""

from __future__ import annotations

import asyncio
import datetime
import threading
from typing import Any

import pytest

from procrastinate import App, exceptions, jobs, utils
from procrastinate.rpc import Call, front, listing, old_wire, wire
from procrastinate.testing import InMemoryConnector

NOON = datetime.datetime(2030, 1, 1, 12, tzinfo=datetime.UTC)


@pytest.fixture
def connector() -> InMemoryConnector:
    connector = InMemoryConnector()
    connector.clock = lambda: NOON
    return connector


@pytest.fixture
def app(connector: InMemoryConnector) -> App:
    app = App(connector=connector)

    @app.task(name="task", queue="q")
    def task(**_: Any) -> None: ...

    return app


def test_a_deferred_job_is_a_dictionary_with_the_columns_of_its_table(
    app: App, connector: InMemoryConnector
) -> None:
    later = NOON + datetime.timedelta(hours=1)
    job_id = app.configure_task(
        "task", lock="l", queueing_lock="ql", priority=2, schedule_at=later
    ).defer(a=1)
    assert connector.jobs == {
        job_id: {
            "id": 1,
            "queue_name": "q",
            "task_name": "task",
            "priority": 2,
            "lock": "l",
            "queueing_lock": "ql",
            "args": {"a": 1},
            "status": "todo",
            "scheduled_at": later,
            "attempts": 0,
            "abort_requested": False,
            "worker_id": None,
        }
    }


async def test_nothing_need_be_opened(app: App) -> None:
    assert await app.configure_task("task").defer_async() == 1
    assert await asyncio.to_thread(app.configure_task("task").defer) == 2
    assert await app.check_connection_async()


def test_what_was_opened_and_closed_is_noted(app: App, connector: InMemoryConnector) -> None:
    with app.open():
        pass

    async def open_and_close() -> None:
        async with app.open_async():
            pass

    asyncio.run(open_and_close())
    assert connector.states == ["open", "closed", "open_async", "closed_async"]


async def test_a_sync_call_in_the_loop_s_own_thread_is_refused_as_with_postgresql(
    app: App,
) -> None:
    with pytest.raises(RuntimeError, match="just await the async function directly"):
        app.configure_task("task").defer()


def test_arguments_are_handed_over_as_they_are(app: App, connector: InMemoryConnector) -> None:
    anything: Any = threading.Lock()
    app.configure_task("task").defer(anything=anything)
    assert connector.jobs[1]["args"]["anything"] is anything
    (job,) = app.job_manager.list_jobs()
    assert job.task_kwargs["anything"] is anything


def test_events_say_what_happened_and_when(app: App, connector: InMemoryConnector) -> None:
    later = NOON + datetime.timedelta(hours=1)
    job_id = app.configure_task("task", schedule_at=later).defer()
    app.job_manager.cancel_job_by_id(job_id, abort=True)
    assert connector.events[job_id] == [
        {"type": "scheduled", "at": later},
        {"type": "deferred", "at": NOON},
        {"type": "abort_requested", "at": NOON},
        {"type": "cancelled", "at": NOON},
    ]


def test_a_waiting_queueing_lock_is_refused_in_the_words_of_3x(
    app: App, connector: InMemoryConnector
) -> None:
    task = app.configure_task("task", queueing_lock="ql")
    task.defer()
    with pytest.raises(exceptions.AlreadyEnqueued) as caught:
        task.batch_defer({"a": 1}, {"a": 2})
    assert str(caught.value) == (
        "Job cannot be enqueued: there is already a job in the queue with the queueing lock ql"
    )
    assert isinstance(caught.value.__cause__, exceptions.UniqueViolation)
    assert list(connector.jobs) == [1]
    assert app.configure_task("task").defer() == 2


def test_two_of_a_batch_with_one_queueing_lock_are_both_refused(
    app: App, connector: InMemoryConnector
) -> None:
    with pytest.raises(exceptions.AlreadyEnqueued):
        app.configure_task("task", queueing_lock="ql").batch_defer({}, {})
    assert connector.jobs == {}


def test_of_two_queueing_locks_that_are_taken_the_first_by_name_is_told(
    app: App, connector: InMemoryConnector
) -> None:
    waiting = [
        jobs.Job(queue="q", lock=None, queueing_lock=name, task_name="task") for name in "pq"
    ]
    app.job_manager.batch_defer_jobs(waiting)
    with pytest.raises(exceptions.AlreadyEnqueued, match="queueing lock p"):
        app.job_manager.batch_defer_jobs(waiting[::-1])
    assert list(connector.jobs) == [1, 2]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            old_wire.retry_job_v2(job_id=47, retry_at=NOON),
            "Job was not found or has an invalid status to retry (job id: 47)",
        ),
        (
            old_wire.finish_job_v1(job_id=47, status="failed", delete=False),
            'Job was not found or not in "doing" or "todo" status (job id: 47)',
        ),
        (
            old_wire.finish_job_v1(job_id=47, status="todo", delete=False),
            'End status should be either "succeeded", "failed" or "aborted" (job id: 47)',
        ),
    ],
)
def test_an_impossible_transition_is_refused_with_the_database_s_text_as_cause(
    connector: InMemoryConnector, call: Call[None], said: str
) -> None:
    with pytest.raises(exceptions.ConnectorException) as caught:
        connector.call(call)
    assert str(caught.value.__cause__) == str(caught.value) == said


def test_the_status_of_an_unknown_job_is_no_result(app: App) -> None:
    with pytest.raises(exceptions.NoResult):
        app.job_manager.get_job_status(47)


def test_a_cancelled_job_that_is_to_be_deleted_is_gone_with_its_history(
    app: App, connector: InMemoryConnector
) -> None:
    job_id = app.configure_task("task").defer()
    assert app.job_manager.cancel_job_by_id(job_id, delete_job=True)
    assert (connector.jobs, connector.events) == ({}, {})


def test_locks_are_listed_beside_jobs_without_any(app: App) -> None:
    app.configure_task("task").defer()
    app.configure_task("task", lock="l").defer()
    (counted,) = app.job_manager.list_locks()
    assert counted["name"] == "l"
    assert counted["jobs_count"] == counted["todo"] == 1


def test_finished_jobs_are_those_that_succeeded_or_failed(
    app: App, connector: InMemoryConnector
) -> None:
    for _ in jobs.Status:
        app.configure_task("task").defer()
    for job_id, status in enumerate(jobs.Status, start=1):
        connector.jobs[job_id]["status"] = status.value
    assert [job["status"] for job in connector.finished_jobs] == ["succeeded", "failed"]


def test_queries_tell_what_was_asked(app: App, connector: InMemoryConnector) -> None:
    app.configure_task("task").defer(a=1)
    app.job_manager.cancel_job_by_id(1)
    (defer, deferred), (cancel, cancelled) = connector.queries
    assert (defer, cancel) == ("defer_jobs", "cancel_job")
    assert deferred["jobs"][0].args == {"a": 1}
    assert cancelled == {"job_id": 1, "abort": False, "delete_job": False}


async def test_workers_and_ticks_can_be_looked_at(
    app: App, connector: InMemoryConnector
) -> None:
    worker_id = await app.job_manager.register_worker()
    job = jobs.Job(
        queue="q",
        lock=None,
        queueing_lock=None,
        task_name="task",
        task_kwargs={"timestamp": 60},
    )
    assert await app.job_manager.defer_periodic_job(job, "p", 60) == 1
    assert await app.job_manager.defer_periodic_job(job, "p", 60) is None
    assert connector.workers == {worker_id: NOON}
    assert connector.periodic_defers == {("task", "p"): 60}


async def test_a_tick_that_a_newer_one_follows_is_not_deferred_again(
    app: App, connector: InMemoryConnector
) -> None:
    async def defer(tick: int) -> bool:
        job = jobs.Job(
            queue="q",
            lock=None,
            queueing_lock=None,
            task_name="task",
            task_kwargs={"timestamp": tick},
        )
        return await app.job_manager.defer_periodic_job(job, "p", tick) is not None

    for tick in range(2, 2003, 2):
        assert await defer(tick)
    assert not await defer(2)
    assert await defer(2004)
    # a thousand before the last are remembered; what is older counts as deferred
    assert [await defer(tick) for tick in (3, 4, 5, 5)] == [False, False, True, False]

    connector.periodic_defers.clear()
    assert await defer(4)


async def test_a_worker_made_old_by_hand_is_stalled(
    app: App, connector: InMemoryConnector
) -> None:
    await app.configure_task("task").defer_async()
    worker_id = await app.job_manager.register_worker()
    job = await app.job_manager.fetch_job(None, worker_id)
    assert job is not None
    assert list(await app.job_manager.get_stalled_jobs()) == []
    connector.workers[worker_id] = NOON - datetime.timedelta(minutes=1)
    assert [stalled.id for stalled in await app.job_manager.get_stalled_jobs()] == [job.id]


async def test_a_job_put_in_doing_by_hand_holds_its_lock_and_can_be_finished(
    app: App, connector: InMemoryConnector
) -> None:
    await app.configure_task("task", lock="l").defer_async()
    await app.configure_task("task", lock="l").defer_async()
    connector.jobs[1]["status"] = "doing"
    worker_id = await app.job_manager.register_worker()
    assert await app.job_manager.fetch_job(None, worker_id) is None
    await app.job_manager.finish_job_by_id_async(1, jobs.Status.SUCCEEDED, False)
    job = await app.job_manager.fetch_job(None, worker_id)
    assert job is not None
    assert job.id == 2


def test_a_late_end_by_a_claim_that_was_lost_changes_nothing(
    app: App, connector: InMemoryConnector
) -> None:
    app.configure_task("task").defer()
    worker_id = connector.call(wire.register_worker_v2())

    def fetch() -> int:
        fetched = connector.call(wire.fetch_jobs_v1(worker_id=worker_id, queues=None, limit=1))
        return fetched.claimed[0].claim_id

    lost = fetch()
    assert connector.call(front.retry_job(job_id=1))
    claim_id = fetch()

    def finish(claim: int) -> str:
        end = wire.End(job_id=1, claim_id=claim, status="succeeded")
        (outcome,) = connector.call(wire.finish_jobs_v1(worker_id=worker_id, ends=[end]))
        return outcome.outcome

    assert (finish(lost), connector.jobs[1]["status"]) == ("not_held", "doing")
    assert (finish(claim_id), connector.jobs[1]["status"]) == ("finished", "succeeded")


def test_a_paused_queue_gives_no_job_until_its_pause_is_over(
    app: App, connector: InMemoryConnector
) -> None:
    app.configure_task("task").defer()
    worker_id = connector.call(wire.register_worker_v2())
    in_a_minute = NOON + datetime.timedelta(minutes=1)
    connector.call(front.pause_queue(queue_name="q", until=in_a_minute))

    fetch = wire.fetch_jobs_v1(worker_id=worker_id, queues=None, limit=1)
    while_paused = connector.call(fetch)
    assert (while_paused.claimed, while_paused.next_due_in) == ([], 60)
    connector.clock = lambda: in_a_minute
    assert [claim.job.id for claim in connector.call(fetch).claimed] == [1]


def test_a_reset_empties_everything_and_starts_at_one_again(
    app: App, connector: InMemoryConnector
) -> None:
    app.configure_task("task").defer()
    connector.call(wire.register_worker_v2())
    connector.call(front.pause_queue(queue_name="q"))
    connector.open()
    connector.reset()
    assert (connector.jobs, connector.events, connector.workers) == ({}, {}, {})
    assert (connector.queries, connector.states, connector.notify_channels) == ([], [], [])
    assert app.configure_task("task").defer() == 1
    worker_id = connector.call(wire.register_worker_v2())
    assert worker_id == 1
    fetched = connector.call(wire.fetch_jobs_v1(worker_id=1, queues=None, limit=1))
    assert len(fetched.claimed) == 1


def test_the_clock_is_the_one_of_the_package_unless_a_test_sets_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connector = InMemoryConnector()
    monkeypatch.setattr(utils, "utcnow", lambda: NOON)
    assert connector.call(front.now()) == NOON
    connector.clock = lambda: NOON + datetime.timedelta(hours=1)
    assert connector.call(front.now()) == NOON + datetime.timedelta(hours=1)


def test_a_missing_table_can_be_played(app: App, connector: InMemoryConnector) -> None:
    connector.table_exists = False
    assert not app.check_connection()


def test_a_caller_s_connection_is_accepted_and_means_nothing(
    app: App, connector: InMemoryConnector
) -> None:
    app.configure_task("task").defer()
    assert connector.call(listing.get_job_status(job_id=1), connection=object()) == "todo"


def test_the_schema_can_be_read_but_not_applied(app: App) -> None:
    assert "procrastinate_jobs" in app.schema_manager.get_schema()
    with pytest.raises(exceptions.ConnectorException, match="understands no SQL"):
        app.schema_manager.apply_schema()


def test_jobs_deferred_by_many_threads_get_an_id_each(
    app: App, connector: InMemoryConnector
) -> None:
    ids: list[int] = []

    def defer_many() -> None:
        ids.extend(app.configure_task("task").defer() for _ in range(200))

    threads = [threading.Thread(target=defer_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ids) == list(connector.jobs) == list(range(1, 801))
