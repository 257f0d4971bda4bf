"""A worker of many slots exchanges one batch while another runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from procrastinate import App, exceptions
from procrastinate.types import JSONDict
from procrastinate.worker import Worker

from .alone import until
from .conftest import Database, Drain, StartWorker, intercept, run_to_its_end

JOBS = 120


@pytest.mark.parametrize(
    ("concurrency", "lanes", "most"), [(39, 1, 39), (40, 2, 20), (41, 2, 21)]
)
async def test_from_forty_slots_on_two_exchanges_share_them(
    app: App,
    database: Database,
    drain: Drain,
    monkeypatch: pytest.MonkeyPatch,
    concurrency: int,
    lanes: int,
    most: int,
) -> None:
    send = app.connector.call_async
    under_way = 0
    at_once: Counter[int] = Counter()
    limits: set[int] = set()

    async def watch(call: Any, **options: Any) -> Any:
        nonlocal under_way
        if call.function.name != "procrastinate_finish_and_fetch_v1":
            return await send(call, **options)
        limits.add(call.args["p_limit"])
        under_way += 1
        at_once[under_way] += 1
        try:
            return await send(call, **options)
        finally:
            under_way -= 1

    intercept(app, monkeypatch, watch)
    running = 0
    ran: list[int] = []

    @app.task(name="t")
    async def task(n: int) -> None:
        nonlocal running
        running += 1
        assert running <= concurrency
        ran.append(n)
        running -= 1

    arguments: list[JSONDict] = [{"n": n} for n in range(JOBS)]
    await task.batch_defer_async(*arguments)
    await drain(concurrency=concurrency)

    assert sorted(ran) == list(range(JOBS))
    assert await database.statuses() == ["succeeded"] * JOBS
    assert max(at_once) == lanes
    assert max(limits) == most


async def test_lanes_end_together_if_they_are_stopped_while_one_of_them_asks_for_jobs(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(app, concurrency=40, install_signal_handlers=False)
    send: Any = app.connector.call_async

    async def call_async(call: Any, **options: Any) -> Any:
        if call.function.name == "procrastinate_finish_and_fetch_v1":
            worker.stop()  # the other lane has its turn while the answer is on its way
        return await send(call, **options)

    intercept(app, monkeypatch, call_async)
    await run_to_its_end(worker)
    assert worker.claims.is_idle


async def test_what_ends_after_both_lanes_have_failed_is_named_and_the_first_failure_raised(
    app: App,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
) -> None:
    gates = [asyncio.Event(), asyncio.Event()]

    @app.task(name="t")
    async def task(n: int) -> None:
        await gates[n].wait()

    first, second = await task.batch_defer_async({"n": 0}, {"n": 1})
    run = await start_worker(listen_notify=False, concurrency=40)
    await run.until_it_runs(2)
    rename = "alter function procrastinate_{} rename to procrastinate_{}"
    database.conn.execute(rename.format("finish_and_fetch_v1", "gone").encode())
    run.worker.claims.wake()
    await until(lambda: run.worker.claims.failure is not None)
    failure = run.worker.claims.failure

    gates[0].set()  # the other lane reports it
    await run.until_it_runs(1)
    gates[1].set()
    with pytest.raises(exceptions.ConnectorException) as raised:
        await run.ended()

    database.conn.execute(rename.format("gone", "finish_and_fetch_v1").encode())
    assert raised.value is failure
    assert await database.statuses() == ["doing", "doing"]
    (said,) = [r for r in records.records if r.__dict__.get("action") == "ends_not_saved"]
    assert said.getMessage().startswith("The ends of 2 jobs could not be saved")
    assert f"t[{first}]" in said.getMessage()
    assert f"t[{second}]" in said.getMessage()
