"""The deferrer makes each tick a job, once, whatever fails meanwhile."""

from __future__ import annotations

import asyncio
import datetime
import logging
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import PsycopgConnector, exceptions, periodic
from procrastinate import app as app_module

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import psycopg
from tests.python.tasks.cron import MINUTE, START, Clock, schedule


@pytest.fixture
async def open_app(dsn: str) -> AsyncIterator[app_module.App]:
    app = app_module.App(connector=PsycopgConnector(conninfo=dsn))
    async with app.open_async():
        yield app


def deferrer_of(app: app_module.App, clock: Clock) -> periodic.PeriodicDeferrer:
    return periodic.PeriodicDeferrer(app.periodic_registry, clock=clock)


async def defer_due(deferrer: periodic.PeriodicDeferrer, at: float) -> bool:
    return await deferrer.defer_jobs(deferrer.get_previous_tasks(at=at))


async def rows(conn: psycopg.Connection) -> list[Any]:
    return conn.execute(
        "select task_name, queue_name, priority, lock, queueing_lock, args, scheduled_at "
        "from procrastinate_jobs order by id"
    ).fetchall()


async def test_a_tick_becomes_a_job_with_its_options_and_timestamp(
    open_app: app_module.App, conn: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="procrastinate.periodic")
    schedule(
        open_app,
        queue="q",
        priority=7,
        lock="l",
        queueing_lock="ql",
        task_kwargs={"a": 1, "timestamp": 3},
        schedule_in={"days": 1},
    )

    assert await defer_due(deferrer_of(open_app, Clock()), START + 5)

    assert await rows(conn) == [("t", "q", 7, "l", "ql", {"a": 1, "timestamp": START}, None)]
    record = caplog.records[-1]
    assert record.message == (
        f"Periodic job t[1](...) deferred for timestamp {START} with id 1"
    )
    assert {
        key: record.__dict__[key]
        for key in ("action", "task_name", "periodic_id", "defer_timestamp", "kwargs")
    } == {
        "action": "periodic_task_deferred",
        "task_name": "t",
        "periodic_id": "",
        "defer_timestamp": START,
        "kwargs": {
            "queue": "q",
            "priority": 7,
            "lock": "l",
            "queueing_lock": "ql",
            "task_kwargs": {"a": 1, "timestamp": START},
        },
    }
    assert record.__dict__["job"]["call_string"] == "t[1](...)"


async def test_a_tick_becomes_one_job_whatever_the_number_of_workers_and_restarts(
    open_app: app_module.App, conn: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="procrastinate.periodic")
    schedule(open_app)

    await asyncio.gather(
        *(defer_due(deferrer_of(open_app, Clock()), START + 5) for _ in range(4))
    )

    assert len(await rows(conn)) == 1
    skipped = [
        record.message
        for record in caplog.records
        if record.__dict__["action"] == "periodic_task_already_deferred"
    ]
    assert len(skipped) == 3
    assert skipped[0].endswith(f"skipped for timestamp {START}: already deferred")


async def test_many_periodic_tasks_each_get_every_tick(
    open_app: app_module.App, conn: psycopg.Connection
) -> None:
    for number in range(70):
        schedule(open_app, name=f"t{number}")
    deferrer = deferrer_of(open_app, Clock())

    for minute in range(3):
        assert await defer_due(deferrer, START + minute * MINUTE)

    counts = conn.execute(
        "select count(*), count(distinct task_name), count(distinct args) "
        "from procrastinate_jobs"
    ).fetchone()
    assert counts == (210, 70, 3)


async def test_two_schedules_of_one_task_are_deferred_apart(
    open_app: app_module.App, conn: psycopg.Connection
) -> None:
    schedule(open_app, periodic_id="x", task_kwargs={"who": "x"})
    schedule(open_app, periodic_id="y", task_kwargs={"who": "y"})

    await defer_due(deferrer_of(open_app, Clock()), START)

    assert sorted(row[5]["who"] for row in await rows(conn)) == ["x", "y"]


async def test_a_taken_queueing_lock_skips_the_tick_and_nothing_else(
    open_app: app_module.App, conn: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="procrastinate.periodic")
    schedule(open_app, name="locked", queueing_lock="ql")
    schedule(open_app, name="free")
    await open_app.configure_task("other", queueing_lock="ql").defer_async()
    deferrer = deferrer_of(open_app, Clock())

    assert await defer_due(deferrer, START)
    assert list(deferrer.get_previous_tasks(at=START)) == []

    assert [row[0] for row in await rows(conn)] == ["other", "free"]
    (record,) = (
        record
        for record in caplog.records
        if record.__dict__["action"] == "skip_periodic_task_queueing_lock"
    )
    assert record.message == (
        "Periodic job locked[None](...) cannot be enqueued: there is already "
        "a job in the queue with the queueing lock ql"
    )
    assert record.__dict__["queueing_lock"] == record.__dict__["job"]["queueing_lock"] == "ql"


async def test_a_tick_that_the_database_did_not_take_comes_again(
    open_app: app_module.App,
    conn: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    schedule(open_app, name="bad")
    schedule(open_app, name="good")
    deferrer = deferrer_of(open_app, Clock())
    deferrer.last_defers["bad", ""] = START - MINUTE
    defer_periodic_job = open_app.job_manager.defer_periodic_job

    async def fail(**kwargs: Any) -> int | None:
        if kwargs["job"].task_name == "bad":
            raise exceptions.ConnectorException
        return await defer_periodic_job(**kwargs)

    monkeypatch.setattr(open_app.job_manager, "defer_periodic_job", fail)
    assert not await defer_due(deferrer, START + MINUTE)
    assert [row[0] for row in await rows(conn)] == ["good"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.records[0].__dict__["action"] == "periodic_task_not_deferred"
    assert caplog.records[0].exc_info

    monkeypatch.undo()
    assert await defer_due(deferrer, START + MINUTE)

    assert [(row[0], row[5]["timestamp"] - START) for row in await rows(conn)] == [
        ("good", MINUTE),
        ("bad", 0),
        ("bad", MINUTE),
    ]


async def test_after_a_failure_the_deferrer_does_not_wait_for_the_next_tick(
    open_app: app_module.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule(open_app)
    deferrer = deferrer_of(open_app, Clock())
    waits: list[float] = []
    waited_twice = asyncio.Event()
    failures = iter([False, True])

    async def defer_jobs(jobs_to_defer: Any) -> bool:
        return next(failures, True)

    async def wait(next_tick: float) -> None:
        waits.append(next_tick)
        if len(waits) == 2:
            waited_twice.set()
        await asyncio.sleep(0)

    monkeypatch.setattr(deferrer, "defer_jobs", defer_jobs)
    monkeypatch.setattr(deferrer, "wait", wait)
    worker = asyncio.create_task(deferrer.worker())
    await asyncio.wait_for(waited_twice.wait(), timeout=30)
    worker.cancel()

    assert waits[:2] == [periodic.RETRY_DELAY, MINUTE] == [5, 60]


async def test_ten_thousand_ticks_under_time_travel_are_each_deferred_once(
    open_app: app_module.App, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks: list[int] = []

    async def count(**kwargs: Any) -> int:
        ticks.append(kwargs["defer_timestamp"])
        return len(ticks)

    monkeypatch.setattr(open_app.job_manager, "defer_periodic_job", count)
    schedule(open_app, cron="* * * * * *")
    clock = Clock()
    deferrer = deferrer_of(open_app, clock)
    done = asyncio.Event()

    async def travel(next_tick: float) -> None:
        # An odd step, as a real sleep ends a little late or a little early.
        clock.now += next_tick - 0.25 if len(ticks) % 3 == 0 else next_tick + 2.5
        if len(ticks) >= 10_000:
            done.set()
        await asyncio.sleep(0)

    monkeypatch.setattr(deferrer, "wait", travel)
    worker = asyncio.create_task(deferrer.worker())
    await asyncio.wait_for(done.wait(), timeout=60)
    worker.cancel()

    assert ticks == list(range(START, START + len(ticks)))


async def test_the_deferrer_waits_until_the_next_tick_and_says_so(
    open_app: app_module.App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="procrastinate.periodic")
    clock = Clock()
    clock.now = START + 59.99
    schedule(open_app)
    worker = asyncio.create_task(deferrer_of(open_app, clock).worker())

    def waits() -> list[float]:
        return [
            record.__dict__["next_tick"]
            for record in caplog.records
            if record.__dict__["action"] == "wait_next_tick"
        ]

    async def second_wait() -> None:
        while len(waits()) < 2:  # noqa: ASYNC110  (a log record sets no event)
            await asyncio.sleep(0)

    await asyncio.wait_for(second_wait(), timeout=10)
    worker.cancel()

    assert waits()[0] == pytest.approx(0.01, abs=1e-3)


async def test_a_worker_runs_what_its_deferrer_makes(
    open_app: app_module.App, conn: psycopg.Connection
) -> None:
    timestamps: list[int] = []
    done = asyncio.Event()

    @open_app.periodic(cron="* * * * * *", task_kwargs={"text": "hello"})
    @open_app.task(queue="elsewhere")
    async def remember(timestamp: int, text: str) -> None:
        assert text == "hello"
        timestamps.append(timestamp)
        done.set()

    worker = asyncio.create_task(open_app.run_worker_async(install_signal_handlers=False))
    await asyncio.wait_for(done.wait(), timeout=30)
    worker.cancel()
    await asyncio.wait([worker])

    assert timestamps[0] == pytest.approx(datetime.datetime.now().timestamp(), abs=30)
    assert remember.name in {row[0] for row in await rows(conn)}


async def test_a_wrong_cron_stops_the_worker_which_returns(
    open_app: app_module.App, caplog: pytest.LogCaptureFixture
) -> None:
    schedule(open_app, cron="wrong")

    await asyncio.wait_for(open_app.run_worker_async(install_signal_handlers=False), timeout=30)

    (record,) = (
        record
        for record in caplog.records
        if getattr(record, "action", None) == "side_task_failed"
    )
    assert record.levelname == "ERROR"
    assert record.message.startswith("Side task deferrer failed with exception: ")
    assert record.__dict__["action"] == "side_task_failed"
