"""Ticks, and the jobs that are made of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import app as app_module
from procrastinate import exceptions, periodic
from procrastinate.connector import BaseConnector

if TYPE_CHECKING:
    pass
from tests.python.tasks.cron import MINUTE, START, schedule, tick


@pytest.fixture
def app() -> app_module.App:
    """An app that never gets to a database."""
    return app_module.App(connector=BaseConnector())


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
