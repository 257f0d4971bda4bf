"""What a worker does for all: regularly, after trouble, and never instead of a heartbeat."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import App, exceptions
from procrastinate.worker import Worker, housekeeping

from .alone import ALONE, NEVER, listening, until
from .conftest import Database, StartWorker, intercept

if TYPE_CHECKING:
    from collections.abc import Callable

SWEEP = "procrastinate_sweep_v1"
HEARTBEAT = "procrastinate_heartbeat_v2"


class Calls:
    """Counts the calls of each function, and can hold those of one, or let them fail."""

    def __init__(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        self.held, self.go_on = "", asyncio.Event()
        self.failures = 0
        self._send: Any = app.connector.call_async
        intercept(app, monkeypatch, self._call_async)

    async def _call_async(self, call: Any, **options: Any) -> Any:
        name = call.function.name
        self.made.append(name)
        if name == self.held:
            await self.go_on.wait()
        if name == SWEEP and self.failures:
            self.failures -= 1
            raise exceptions.DatabaseUnavailable("gone")
        return await self._send(call, **options)

    def has(self, name: str, count: int) -> Callable[[], bool]:
        """Return whether a function was called so often."""
        return lambda: self.made.count(name) >= count


@pytest.fixture
def calls(app: App, monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(app, monkeypatch)


async def test_a_round_that_waits_keeps_no_heartbeat_from_being_made(
    database: Database, start_worker: StartWorker, calls: Calls
) -> None:
    run = await start_worker(**{**ALONE, "update_heartbeat_interval": 0.01})
    await listening(database)
    calls.held = SWEEP
    run.worker.housekeeping.begin_now()
    await until(calls.has(SWEEP, 2))  # one at the start
    calls.made.clear()
    await until(calls.has(HEARTBEAT, 3))
    assert SWEEP not in calls.made  # and no second round is begun beside it
    calls.go_on.set()
    await run.stop()


async def test_a_round_is_made_at_each_interval(
    start_worker: StartWorker, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "INTERVAL", 0.01)
    run = await start_worker(**ALONE)
    await until(calls.has(SWEEP, 4))
    await run.stop()


async def test_who_is_stalled_sooner_is_looked_for_sooner(
    start_worker: StartWorker, calls: Calls
) -> None:
    run = await start_worker(**{**ALONE, "stalled_worker_timeout": 0.05})
    await until(calls.has(SWEEP, 4))
    await run.stop()


async def test_rounds_do_not_follow_each_other_without_a_pause(
    database: Database,
    start_worker: StartWorker,
    calls: Calls,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(housekeeping, "SHORTEST_INTERVAL", NEVER)
    monkeypatch.setattr(housekeeping, "INTERVAL", NEVER)
    run = await start_worker(
        **{**ALONE, "stalled_worker_timeout": 0.0, "update_heartbeat_interval": 0.01}
    )
    await listening(database)
    await until(calls.has(HEARTBEAT, 3))
    assert calls.made.count(SWEEP) == 1  # the one at the start
    await run.stop()


async def test_a_round_that_failed_is_made_again(
    database: Database, start_worker: StartWorker, calls: Calls
) -> None:
    run = await start_worker(**ALONE)
    await listening(database)
    calls.made.clear()
    calls.failures = 2
    run.worker.housekeeping.begin_now()
    await until(calls.has(SWEEP, 3))
    await run.stop()


async def test_a_round_that_fails_alone_is_no_outage(
    database: Database,
    start_worker: StartWorker,
    calls: Calls,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(housekeeping, "FIRST_PAUSE", NEVER)
    monkeypatch.setattr(housekeeping, "LONGEST_PAUSE", NEVER)
    run = await start_worker(**{**ALONE, "update_heartbeat_interval": 0.01})
    await listening(database)
    calls.made.clear()
    calls.failures = 9
    run.worker.housekeeping.begin_now()
    await until(calls.has(SWEEP, 1))
    beats = calls.made.count(HEARTBEAT)
    await until(calls.has(HEARTBEAT, beats + 3))
    assert calls.made.count(SWEEP) == 1  # The others' success says nothing about it.
    (said,) = [it for it in caplog.records if it.levelno == logging.WARNING]
    assert said.__dict__["action"] == "housekeeping_failed"
    assert said.getMessage() == (
        "Stalled workers and jobs could not be looked for: DatabaseUnavailable('gone'). Trying"
        " again until they are"
    )
    await run.stop()


async def test_an_outage_that_is_over_is_followed_by_a_round(
    database: Database, start_worker: StartWorker, calls: Calls
) -> None:
    run = await start_worker(**ALONE)
    await listening(database)
    calls.made.clear()
    run.worker.outage.begin(exceptions.DatabaseUnavailable())
    run.worker.outage.end()
    await until(calls.has(SWEEP, 1))
    await run.stop()


async def test_a_round_does_all_in_its_order(
    app: App, monkeypatch: pytest.MonkeyPatch, calls: Calls
) -> None:
    app.configure_task("t")
    app.task(name="t")(lambda: None)
    worker = Worker(app, stalled_jobs="retry")
    worker.recovery.prepare()
    await worker.housekeeping.make_round()
    assert calls.made == [
        "procrastinate_prune_workers_v1",
        "procrastinate_expire_jobs_v1",
        "procrastinate_recover_jobs_v1",
        SWEEP,
    ]
