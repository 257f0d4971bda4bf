"""A user asks a running job to abort."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import App, JobContext, exceptions
from procrastinate.job_context import AbortReason
from procrastinate.worker import Worker

from .conftest import Database, StartWorker, actions, intercept, run_to_its_end

if TYPE_CHECKING:
    from procrastinate.worker.running import RunningJob

NEVER = 1000.0

#: How an abort gets to the worker when all other ways are closed.
WAYS: dict[str, dict[str, Any]] = {
    "notification": {"abort_job_polling_interval": NEVER},
    "polling": {"listen_notify": False, "abort_job_polling_interval": 0.05},
    "heartbeat": {
        "listen_notify": False,
        "abort_job_polling_interval": NEVER,
        "update_heartbeat_interval": 0.05,
    },
}


async def abort(app: App, job_id: int) -> None:
    assert await app.job_manager.cancel_job_by_id_async(job_id, abort=True)


@pytest.mark.parametrize("way", WAYS)
async def test_an_async_job_is_cancelled(
    app: App,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
    way: str,
) -> None:
    reasons: list[Any] = []

    @app.task(name="t", pass_context=True)
    async def task(context: JobContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            reasons.append(context.abort_reason())

    job_id = await task.defer_async()
    run = await start_worker(**WAYS[way])
    await run.until_it_runs()
    await abort(app, job_id)
    await database.until_status(job_id, "aborted")
    await run.stop()

    job = await database.job(job_id)
    assert (job.attempts, job.abort_requested) == (1, False)
    assert reasons == [AbortReason.USER_REQUEST]
    assert "job_aborted" in actions(records)
    assert "Received a request to abort an asynchronous job" in records.text


async def test_a_sync_job_sees_it_and_decides(
    app: App,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
) -> None:
    pause = threading.Event()

    @app.task(name="t", pass_context=True, retry=True)
    def task(context: JobContext) -> None:
        while not context.should_abort():
            pause.wait(0.005)
        raise exceptions.JobAborted

    job_id = await task.defer_async()
    run = await start_worker()
    await run.until_it_runs()
    await abort(app, job_id)
    await database.until_status(job_id, "aborted")
    await run.stop()
    (record,) = [r for r in records.records if r.__dict__.get("action") == "abort_job"]
    assert record.getMessage() == (
        "Received a request to abort a synchronous job. Job is responsible for aborting by "
        "checking context.should_abort"
    )


@pytest.mark.parametrize(
    ("ending", "status", "attempts"), [("returns", "succeeded", 1), ("raises", "failed", 0)]
)
async def test_a_sync_job_that_goes_on_is_what_it_ends_as_and_never_retried(
    app: App,
    database: Database,
    start_worker: StartWorker,
    ending: str,
    status: str,
    attempts: int,
) -> None:
    pause = threading.Event()

    @app.task(name="t", pass_context=True, retry=True)
    def task(context: JobContext) -> None:
        while not context.should_abort():
            pause.wait(0.005)
        if ending == "raises":
            raise ValueError

    job_id = await task.defer_async()
    run = await start_worker()
    await run.until_it_runs()
    await abort(app, job_id)
    await database.until_status(job_id, status)
    await run.stop()
    assert (await database.job(job_id)).attempts == attempts


@pytest.mark.parametrize(
    ("ending", "retry", "status", "attempts"),
    [
        ("swallow", False, "succeeded", 1),
        ("other", False, "failed", 1),
        ("let through", True, "failed", 0),
        ("other", True, "failed", 0),
    ],
)
async def test_what_an_async_job_makes_of_the_cancellation_counts(
    app: App,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
    ending: str,
    retry: bool,
    status: str,
    attempts: int,
) -> None:
    @app.task(name="t", retry=retry)
    async def task() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if ending == "let through":
                raise
            if ending == "other":
                raise ValueError from None

    job_id = await task.defer_async()
    run = await start_worker(abort_job_polling_interval=0.05)
    await run.until_it_runs()
    await abort(app, job_id)
    await database.until_status(job_id, status)
    await run.stop()
    assert (await database.job(job_id)).attempts == attempts
    if retry:
        assert "to retry" in records.text


async def test_a_job_is_cancelled_once_however_often_it_is_asked(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    cancelled: list[bool] = []
    gate = asyncio.Event()

    @app.task(name="t")
    async def task() -> None:
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                cancelled.append(True)

    job_id = await task.defer_async()
    run = await start_worker(abort_job_polling_interval=0.01, update_heartbeat_interval=0.01)
    await run.until_it_runs()
    await abort(app, job_id)
    beats = "select 1 from procrastinate_workers where last_heartbeat > %s"
    for _ in range(5):
        await database.until(beats, database.conn.execute("select now()").fetchone()[0])  # type: ignore[index]
    gate.set()
    await database.until_status(job_id, "succeeded")
    await run.stop()
    assert cancelled == [True]


async def test_an_abort_that_is_heard_of_before_the_claims_answer_is_not_lost(
    app: App, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    @app.task(name="t")
    async def task() -> None:
        await asyncio.Event().wait()

    job_id = await task.defer_async()
    worker = Worker(
        app,
        wait=False,
        install_signal_handlers=False,
        listen_notify=False,
        abort_job_polling_interval=NEVER,
        update_heartbeat_interval=NEVER,
    )
    send: Any = app.connector.call_async

    async def call_async(call: Any, **options: Any) -> Any:
        answer = await send(call, **options)
        if call.function.name == "procrastinate_finish_and_fetch_v1" and answer.claimed:
            # Notified on another connection, which was faster than this answer.
            database.conn.execute("select procrastinate_abort_job(%s)", [job_id])
            worker.running.abort_by_id(job_id)
        return answer

    intercept(app, monkeypatch, call_async)
    await run_to_its_end(worker)
    assert await database.status(job_id) == "aborted"


async def test_a_job_that_is_asked_to_abort_before_its_first_step_ends_as_aborted(
    app: App, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    @app.task(name="t")
    async def task() -> None:
        await asyncio.Event().wait()

    job_id = await task.defer_async()
    worker = Worker(app, wait=False, install_signal_handlers=False, listen_notify=False)
    add = worker.running.add

    def add_and_abort(running: RunningJob) -> None:
        add(running)
        worker.running.abort_by_id(job_id)

    monkeypatch.setattr(worker.running, "add", add_and_abort)
    await run_to_its_end(worker)
    assert await database.status(job_id) == "aborted"


async def test_an_abort_of_another_workers_job_is_not_kept_for_later(
    app: App, database: Database
) -> None:
    @app.task(name="t")
    async def task() -> None:
        await asyncio.sleep(0)

    job_id = await task.defer_async()
    worker = Worker(app, wait=False, install_signal_handlers=False)
    worker.running.abort_by_id(job_id)
    await run_to_its_end(worker)
    assert await database.status(job_id) == "succeeded"


async def test_an_abort_of_what_an_exchange_did_not_bring_is_not_kept_for_the_next_one(
    app: App, database: Database, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    @app.task(name="t")
    async def task() -> None:
        await asyncio.sleep(0)

    job_ids: list[int] = []
    send: Any = app.connector.call_async

    async def call_async(call: Any, **options: Any) -> Any:
        answer = await send(call, **options)
        if call.function.name == "procrastinate_finish_and_fetch_v1" and not job_ids:
            # Another worker has it, and gives it back after this.
            job_ids.append(await task.defer_async())
            run.worker.running.abort_by_id(job_ids[0])
        return answer

    intercept(app, monkeypatch, call_async)
    run = await start_worker()
    await database.until(
        "select 1 from procrastinate_jobs where status in ('succeeded', 'aborted')"
    )
    assert await database.status(job_ids[0]) == "succeeded"


async def test_notifications_that_are_not_ours_do_no_harm(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    @app.task(name="t")
    async def task() -> None: ...

    run = await start_worker()
    await database.until("select 1 from pg_stat_activity where query ilike 'listen%'")
    for payload in ("", "{", '{"type": "abort_job_requested"}', '["abort_job_requested"]'):
        database.conn.execute("select pg_notify('procrastinate_any_queue_v1', %s)", [payload])
    await database.until_status(await task.defer_async(), "succeeded")
    await run.stop()
