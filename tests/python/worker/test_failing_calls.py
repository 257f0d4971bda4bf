"""Calls fail for a while, as without a database: each is tried again, or is logged."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from procrastinate import App, exceptions
from procrastinate.rpc import wire
from procrastinate.worker import Worker, heartbeat

from .alone import ALONE, NEVER, Runs, listening, until
from .conftest import Database, StartWorker, actions, intercept, see_it_end


class Unreliable:
    """Makes the next calls of a function fail as they do without a database."""

    def __init__(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: dict[str, int] = {}
        self.failed: list[str] = []
        self._send: Any = app.connector.call_async
        intercept(app, monkeypatch, self._call_async)

    async def _call_async(self, call: Any, **options: Any) -> Any:
        name = call.function.name
        if self.left.get(name, 0):
            self.left[name] -= 1
            self.failed.append(name)
            raise exceptions.DatabaseUnavailable
        return await self._send(call, **options)


@pytest.fixture
def unreliable(app: App, monkeypatch: pytest.MonkeyPatch) -> Unreliable:
    return Unreliable(app, monkeypatch)


@pytest.mark.parametrize(
    "function",
    [
        "procrastinate_finish_and_fetch_v1",
        "procrastinate_retry_jobs_v2",
        "procrastinate_list_jobs_to_abort_v2",
        "procrastinate_heartbeat_v2",
        "procrastinate_channels_v1",
        "procrastinate_prune_workers_v1",
        "procrastinate_recover_jobs_v1",
        "procrastinate_sweep_v1",
        "procrastinate_register_worker_v2",
    ],
)
async def test_each_call_may_fail_for_a_while(
    app: App,
    database: Database,
    start_worker: StartWorker,
    unreliable: Unreliable,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
) -> None:
    monkeypatch.setattr(heartbeat, "RETRY_AFTER", 0.01)
    runs = Runs(app)
    unreliable.left[function] = 2
    flaky = await app.configure_task("flaky").defer_async(n=1)
    slow = await app.configure_task("slow").defer_async(n=2)
    run = await start_worker(
        concurrency=2,
        fetch_job_polling_interval=NEVER,
        abort_job_polling_interval=0.02,
        update_heartbeat_interval=0.02,
        stalled_jobs="retry",
    )
    await until(lambda: unreliable.failed == [function] * 2)
    runs.gate.set()
    await database.until_status(flaky, "succeeded")
    await database.until_status(slow, "succeeded")
    await run.stop()
    assert sorted(runs.ran) == [1, 1, 2]


async def test_a_worker_that_is_stopped_before_it_has_reached_the_database_ends(
    app: App, database: Database, unreliable: Unreliable
) -> None:
    unreliable.left["procrastinate_register_worker_v2"] = 1000
    worker = Worker(app, install_signal_handlers=False)
    task = asyncio.create_task(worker.run())
    await until(lambda: unreliable.failed)
    worker.stop()
    with pytest.raises(exceptions.DatabaseUnavailable):
        await see_it_end(task)


async def test_a_release_is_tried_until_it_succeeds(
    app: App,
    database: Database,
    start_worker: StartWorker,
    unreliable: Unreliable,
    records: pytest.LogCaptureFixture,
) -> None:
    unreliable.left["procrastinate_release_jobs_v1"] = 2
    job_id = await app.configure_task("nobody").defer_async()
    run = await start_worker(queues=["other"], **ALONE)
    await listening(database)
    claimed = await app.connector.call_async(
        wire.fetch_jobs_v1(worker_id=run.worker.registration.worker_id, queues=None, limit=1)
    )
    run.worker.claims.take_release(job_id, claimed.claimed[0].claim_id)
    await database.until_status(job_id, "todo")
    await run.stop()
    assert len(unreliable.failed) == 2
    (record,) = [r for r in records.records if r.__dict__.get("action") == "job_released"]
    assert record.getMessage() == f"Job {job_id} was given back: it did not run here"
    assert (record.levelno, record.__dict__["job_id"]) == (logging.INFO, job_id)


async def test_a_row_that_cannot_be_renewed_yet_is_renewed_later(
    app: App,
    database: Database,
    start_worker: StartWorker,
    unreliable: Unreliable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heartbeat, "RETRY_AFTER", 0.01)
    run = await start_worker(**ALONE)
    await listening(database)
    for notice in (run.worker.heartbeat.look_now, run.worker.claims.wake):
        database.conn.execute("delete from procrastinate_workers")
        unreliable.left["procrastinate_register_worker_v2"] = 2
        notice()
        await database.until("select 1 from procrastinate_workers")
        await until(lambda: unreliable.left["procrastinate_register_worker_v2"] == 0)
    await run.stop()


async def test_a_worker_that_cannot_unregister_ends_all_the_same(
    app: App,
    database: Database,
    start_worker: StartWorker,
    unreliable: Unreliable,
    records: pytest.LogCaptureFixture,
) -> None:
    unreliable.left["procrastinate_unregister_worker_v2"] = 1
    run = await start_worker(**ALONE)
    await listening(database)
    await run.stop()
    assert "unregister_worker_failed" in actions(records)
    assert database.conn.execute("select 1 from procrastinate_workers").fetchone()


async def test_a_connector_that_returns_from_listening_leaves_the_rest_to_polling(
    app: App, database: Database, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listen_notify(**_: Any) -> None: ...

    monkeypatch.setattr(app.connector, "listen_notify", listen_notify)
    runs = Runs(app)
    run = await start_worker(fetch_job_polling_interval=0.02)
    await database.until("select 1 from procrastinate_workers")
    await database.until_status(await app.configure_task("quick").defer_async(n=1), "succeeded")
    await run.stop()
    assert runs.ran == [1]


async def test_a_failure_while_a_cancelled_worker_stops_is_logged(
    app: App,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = await start_worker(**ALONE)
    await listening(database)

    async def leave() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(run.worker, "_leave", leave)
    run.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run.ended()
    (record,) = [r for r in records.records if r.levelno == logging.ERROR]
    assert record.getMessage() == "The worker failed while it stopped"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
