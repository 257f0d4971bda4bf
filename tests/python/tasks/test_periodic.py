"""Ticks, and the jobs that are made of them."""

from __future__ import annotations

import asyncio
import datetime
import logging
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import PsycopgConnector, exceptions, periodic
from procrastinate import app as app_module
from procrastinate.connector import BaseConnector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import psycopg

START = int(datetime.datetime(2030, 1, 1, 12, 0, 0, tzinfo=datetime.UTC).timestamp())
MINUTE = 60


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = float(START)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def app() -> app_module.App:
    """An app that never gets to a database."""
    return app_module.App(connector=BaseConnector())


def tick(timestamp: int, **kwargs: Any) -> None: ...


def schedule(
    app: app_module.App,
    *,
    cron: str = "* * * * *",
    name: str = "t",
    periodic_id: str = "",
    **options: Any,
) -> periodic.PeriodicTask[Any, Any, Any]:
    task = app.tasks[name] if name in app.tasks else app.task(name=name)(tick)
    app.periodic(cron=cron, periodic_id=periodic_id, **options)(task)
    return app.periodic_registry.periodic_tasks[name, periodic_id]


def due(
    app: app_module.App, at: float, *, since: int | None = None, max_delay: float = 600
) -> list[int]:
    deferrer = periodic.PeriodicDeferrer(app.periodic_registry, max_delay=max_delay)
    if since is not None:
        deferrer.last_defers = dict.fromkeys(app.periodic_registry.periodic_tasks, since)
    return [timestamp - START for _, timestamp in deferrer.get_previous_tasks(at=at)]


def test_the_decorator_returns_the_task_itself(app: app_module.App) -> None:
    task = app.task(name="t")(tick)

    assert app.periodic(cron="* * * * *")(task) is task


def test_the_decorator_belongs_above_that_of_the_task(app: app_module.App) -> None:
    function: Any = tick

    with pytest.raises(AttributeError, match="'function' object has no attribute 'name'"):
        app.periodic(cron="* * * * *")(function)


def test_one_task_can_not_have_two_schedules_of_one_id(app: app_module.App) -> None:
    schedule(app, periodic_id="x")

    with pytest.raises(
        exceptions.TaskAlreadyRegistered,
        match=r"^A periodic task was already registed with the same periodic_id \('x'\)\. "
        r"Please use a different periodic_id for multiple schedules of the same task\.$",
    ):
        schedule(app, periodic_id="x")


def test_one_task_can_have_schedules_of_several_ids(app: app_module.App) -> None:
    schedule(app, periodic_id="x")
    schedule(app, periodic_id="y")

    assert list(app.periodic_registry.periodic_tasks) == [("t", "x"), ("t", "y")]


def test_without_a_maximum_delay_it_is_ten_minutes(app: app_module.App) -> None:
    assert periodic.PeriodicDeferrer(app.periodic_registry).max_delay == 600


def test_registering_is_logged(app: app_module.App, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="procrastinate.periodic")

    schedule(app, name="p1", queue="q")

    (record,) = caplog.records
    assert record.message == (
        "Registering task p1 with periodic id '' to run periodically with cron * * * * *"
    )
    assert {key: record.__dict__[key] for key in ("action", "task", "cron", "periodic_id")} == {
        "action": "registering_periodic_task",
        "task": "p1",
        "cron": "* * * * *",
        "periodic_id": "",
    }
    assert record.__dict__["kwargs"] == "{'queue': 'q'}"


def test_a_wrong_cron_shows_when_it_is_used_and_not_before(app: app_module.App) -> None:
    periodic_task = schedule(app, cron="wrong")

    with pytest.raises(ValueError, match="columns"):
        periodic_task.next_tick(START)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (START, START),
        (START + 0.5, START),
        (START - 0.001, START - 60),
        (START + 60, START + 60),
    ],
)
def test_the_previous_tick_is_the_last_one_that_is_not_after(
    app: app_module.App, at: float, expected: int
) -> None:
    assert schedule(app).previous_tick(at) == expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [(START, START + 60), (START + 0.5, START + 60), (START - 0.001, START)],
)
def test_the_next_tick_is_the_first_one_after(
    app: app_module.App, at: float, expected: int
) -> None:
    assert schedule(app).next_tick(at) == expected


def test_a_sixth_column_is_seconds_and_stands_last(app: app_module.App) -> None:
    assert schedule(app, cron="* * * * * */10").next_tick(START) == START + 10


def test_ticks_are_in_utc_whatever_the_timezone_of_the_machine(
    app: app_module.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert schedule(app, cron="0 12 * * *").previous_tick(START + 5) == START
    finally:
        monkeypatch.undo()
        time.tzset()


def test_at_the_start_only_the_previous_tick_is_due(app: app_module.App) -> None:
    schedule(app)

    assert due(app, START + 5) == [0]


def test_at_the_start_a_tick_older_than_the_maximum_delay_is_left_alone(
    app: app_module.App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="procrastinate.periodic")
    schedule(app, cron="0 12 * * *")

    assert due(app, START + 600) == [0]
    assert due(app, START + 601) == []
    assert caplog.records[-1].__dict__["action"] == "ignore_periodic_task"
    assert caplog.records[-1].message == (
        "Ignoring periodic task t scheduled more than 600 s ago (601 s)"
    )


def test_later_every_tick_that_was_missed_is_due_the_oldest_first(app: app_module.App) -> None:
    schedule(app)

    assert due(app, START + 3 * MINUTE, since=START) == [60, 120, 180]
    assert due(app, START + 59, since=START) == []


def test_a_program_that_slept_for_long_does_not_flood_the_queue(app: app_module.App) -> None:
    schedule(app)

    assert due(app, START + 100 * MINUTE, since=START, max_delay=120) == [
        98 * MINUTE,
        99 * MINUTE,
        100 * MINUTE,
    ]


def test_ticks_of_several_tasks_come_in_the_order_of_time(app: app_module.App) -> None:
    schedule(app, name="a", cron="*/2 * * * *")
    schedule(app, name="b")

    assert due(app, START + 2 * MINUTE, since=START) == [60, 120, 120]


def test_the_next_tick_is_that_of_the_first_task_to_come(app: app_module.App) -> None:
    schedule(app, name="a", cron="0 13 * * *")
    schedule(app, name="b", cron="* * * * *")

    assert periodic.PeriodicDeferrer(app.periodic_registry).get_next_tick(START + 15) == 45


async def test_without_periodic_tasks_the_deferrer_says_so_and_ends(
    app: app_module.App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="procrastinate.periodic")

    await periodic.PeriodicDeferrer(app.periodic_registry).worker()

    (record,) = caplog.records
    assert record.message == "No periodic task found, periodic deferrer will not run."
    assert record.__dict__["action"] == "periodic_deferrer_no_task"


async def test_a_wrong_cron_ends_the_deferrer(app: app_module.App) -> None:
    schedule(app, cron="wrong")

    with pytest.raises(ValueError, match="columns"):
        await periodic.PeriodicDeferrer(app.periodic_registry).worker()


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
