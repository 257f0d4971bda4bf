"""An idle worker is quiet, and many idle workers are not a storm."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import psycopg.connection_async
import psycopg.waiting
import pytest

from procrastinate import App, PsycopgConnector
from procrastinate.worker import Worker, claim, housekeeping

from .conftest import see_it_end
from .time_lapse import Exchanges, TimeLapse

#: Statements that an idle worker may send.
PER_MINUTE = 30
MINUTES = 10

WORKERS = 50
NEVER = 10_000.0


@pytest.mark.parametrize(
    "options",
    [{}, {"stalled_jobs": "retry", "concurrency": 100}],
    ids=["default", "recovery, two lanes"],
)
def test_an_idle_worker_says_little(
    dsn: str, monkeypatch: pytest.MonkeyPatch, options: Any
) -> None:
    exchanges = Exchanges()
    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=1, **exchanges.pool_options))
    exchanges.watch_lines(app, monkeypatch)

    async def idle() -> Counter[str]:
        loop = asyncio.get_running_loop()
        for module in (psycopg.connection_async, psycopg.waiting):
            monkeypatch.setattr(module, "monotonic", loop.time)
        async with app.open_async():
            worker = Worker(app, install_signal_handlers=False, **options)
            task = asyncio.create_task(worker.run())
            await asyncio.sleep(60)  # on this clock it takes no time
            before = Counter(exchanges.statements)
            await asyncio.sleep(60 * MINUTES)
            said = Counter(exchanges.statements) - before
            worker.stop()
            await see_it_end(task)
        return said

    with asyncio.Runner(loop_factory=lambda: TimeLapse(exchanges)) as runner:
        said = runner.run(idle())

    assert said.total() <= PER_MINUTE * MINUTES
    assert said["heartbeat_v2"] in range(6 * MINUTES - 1, 6 * MINUTES + 2)
    # Every five seconds, by one lane:
    assert said["finish_and_fetch_v1"] in range(12 * MINUTES - 1, 12 * MINUTES + 2)
    # Regularly, not only at the start:
    for housework in ("prune_workers_v1", "sweep_v1"):
        assert said[housework] in range(2 * MINUTES - 1, 2 * MINUTES + 2)
    assert ("recover_jobs_v1" in said) == ("stalled_jobs" in options)


def test_one_job_makes_many_idle_workers_look_once_each(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchanges = Exchanges()
    app = App(
        connector=PsycopgConnector(
            conninfo=dsn, min_size=1, max_size=10, **exchanges.pool_options
        )
    )
    exchanges.watch_lines(app, monkeypatch)
    monkeypatch.setattr(housekeeping, "INTERVAL", NEVER)
    # The database's clock does not leap: by it, all have just looked from the start.
    monkeypatch.setattr(claim, "ALARM_MARGIN", NEVER)

    @app.task(name="t")
    async def task() -> None: ...

    async def storm() -> Counter[str]:
        async with app.open_async():
            workers = [
                Worker(
                    app,
                    install_signal_handlers=False,
                    fetch_job_polling_interval=NEVER,
                    update_heartbeat_interval=NEVER,
                    abort_job_polling_interval=NEVER,
                    stalled_worker_timeout=NEVER,
                )
                for _ in range(WORKERS)
            ]
            runs = [asyncio.create_task(worker.run()) for worker in workers]
            await asyncio.sleep(20)  # on this clock it takes no time
            before = Counter(exchanges.statements)
            job_id = await task.defer_async()
            await asyncio.sleep(20)
            said = Counter(exchanges.statements) - before
            assert (await app.job_manager.get_job_status_async(job_id)).value == "succeeded"
            for worker in workers:
                worker.stop()
            for run in runs:
                await see_it_end(run)
        return said

    with asyncio.Runner(loop_factory=lambda: TimeLapse(exchanges)) as runner:
        said = runner.run(storm())
    # Each looks; whoever met a row that another was just taking looks once more.
    assert WORKERS <= said["finish_and_fetch_v1"] <= 2 * WORKERS
    assert said.total() - said["finish_and_fetch_v1"] == said["defer_job"] == 1
