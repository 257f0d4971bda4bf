"""Connections die without a word: what is sent on them is swallowed, and nothing comes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from procrastinate import App, exceptions
from procrastinate import connector as connector_module
from procrastinate.rpc import front
from procrastinate.worker import outage, waiting

from .conftest import PATIENCE, Cable, Database, StartWorker, actions

NEVER = 1000.0


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector_module, "LISTEN_TIMEOUT", 0.02)
    monkeypatch.setattr(connector_module, "LISTEN_PATIENCE", 0.2)
    monkeypatch.setattr(outage, "ANSWER_TIMEOUT", 0.2)
    monkeypatch.setattr(waiting, "CANCEL_AGAIN", 0.02)


@pytest.mark.usefixtures("short_patience")
async def test_a_listener_that_died_silently_is_replaced(
    far_app: App,
    cable: Cable,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
) -> None:
    ran = asyncio.Event()

    @far_app.task(name="t")
    async def task() -> None:
        ran.set()

    listens = """
        select pid from pg_stat_activity
        where (query ilike 'listen%%' or query = 'select 1') and pid <> %s
    """
    run = await start_worker(
        far_app,
        fetch_job_polling_interval=NEVER,
        abort_job_polling_interval=NEVER,
        update_heartbeat_interval=NEVER,
    )
    await database.until(listens, 0)
    (dead,) = database.conn.execute(listens.encode(), [0]).fetchone() or (0,)
    cable.hush()
    await database.until(listens, dead)
    # The server has not heard that the old one is gone; the new one hears for it.
    database.conn.execute("select procrastinate_defer_job('default', 't')")
    async with asyncio.timeout(PATIENCE):
        await ran.wait()
    await run.stop()
    assert "listener_lost" in actions(records)


@pytest.mark.usefixtures("short_patience")
async def test_a_connection_that_dies_while_it_begins_to_listen_is_replaced(
    far_app: App, cable: Cable, database: Database, start_worker: StartWorker
) -> None:
    cable.hush_at("listen")
    run = await start_worker(
        far_app,
        fetch_job_polling_interval=NEVER,
        abort_job_polling_interval=NEVER,
        update_heartbeat_interval=NEVER,
    )
    async with asyncio.timeout(PATIENCE):
        await cable.swallowed.wait()
    await database.until("select 1 from pg_stat_activity where query ilike 'listen%'")
    await run.stop()


@pytest.mark.usefixtures("short_patience")
async def test_a_call_that_is_never_answered_is_made_again_on_another_connection(
    far_app: App,
    cable: Cable,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    @far_app.task(name="t")
    async def task() -> None:
        started.set()
        await go_on.wait()

    job_id = await task.defer_async()
    run = await start_worker(
        far_app,
        listen_notify=False,
        fetch_job_polling_interval=NEVER,
        abort_job_polling_interval=NEVER,
        update_heartbeat_interval=NEVER,
    )
    async with asyncio.timeout(PATIENCE):
        await started.wait()
    cable.hush()
    go_on.set()
    await database.until_status(job_id, "succeeded")
    await run.stop()

    assert (await database.job(job_id)).attempts == 1
    assert actions(records).count("database_unavailable") == 1


async def test_who_waits_too_long_is_cancelled_until_it_hears() -> None:
    heard: list[int] = []

    async def deaf() -> None:
        while len(heard) < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                heard.append(1)
        raise asyncio.CancelledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waiting, "CANCEL_AGAIN", 0.001)
        with pytest.raises(TimeoutError, match=r"no answer within 0\.001 s"):
            await waiting.within(0.001, deaf())
    task = asyncio.current_task()
    assert task is not None
    assert (len(heard), task.cancelling()) == (3, 0)


async def test_an_answer_in_time_is_returned_and_an_error_raised() -> None:
    async def answer() -> int:
        return 3

    async def error() -> int:
        raise ZeroDivisionError

    assert await waiting.within(PATIENCE, answer()) == 3
    with pytest.raises(ZeroDivisionError):
        await waiting.within(PATIENCE, error())


async def test_whoever_is_cancelled_by_another_stays_cancelled() -> None:
    waits = asyncio.Event()

    async def never() -> None:
        waits.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(waiting.within(PATIENCE, never()))
    await waits.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_both_at_once_are_a_cancellation() -> None:
    async def never(task: list[asyncio.Task[Any]]) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            task[0].cancel()  # by another, just now
            raise

    own: list[asyncio.Task[Any]] = []
    own.append(asyncio.create_task(waiting.within(0.001, never(own))))
    await asyncio.wait(own)
    assert own[0].cancelled()


async def test_a_call_without_an_answer_is_an_unavailable_database(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    from procrastinate.worker import Worker

    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(app.connector, "call_async", never)
    worker = Worker(app)
    with pytest.raises(exceptions.DatabaseUnavailable) as caught:
        await worker.outage.call(front.check(), timeout=0.001)
    assert isinstance(caught.value.__cause__, TimeoutError)
