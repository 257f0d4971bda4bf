"""How a worker ends: gracefully, then with aborts, then at once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from typing import Any

import pytest

from procrastinate import App, JobContext, RetryStrategy, exceptions
from procrastinate.job_context import AbortReason
from procrastinate.worker import Worker, claim, listener, shutdown

from .conftest import PATIENCE, Database, Drain, StartWorker, actions, intercept, run_to_its_end


@pytest.fixture
def gate(app: App) -> asyncio.Event:
    """A task ``wait`` that waits for this event, and a task ``next``."""
    gate = asyncio.Event()

    @app.task(name="wait")
    async def _() -> str:
        await gate.wait()
        return "done"

    @app.task(name="next")
    async def _() -> None: ...

    return gate


async def test_a_stopped_worker_ends_what_runs_and_claims_no_more(
    app: App,
    database: Database,
    start_worker: StartWorker,
    gate: asyncio.Event,
    records: pytest.LogCaptureFixture,
) -> None:
    running = await app.configure_task("wait").defer_async()
    run = await start_worker(concurrency=2)
    await run.until_it_runs()
    run.worker.stop()
    waiting = await app.configure_task("next").defer_async()
    gate.set()
    await run.ended()

    assert await database.status(running) == "succeeded"
    assert await database.status(waiting) == "todo"
    assert not database.conn.execute("select 1 from procrastinate_workers").fetchone()
    assert [
        action for action in actions(records) if action in {"stopping_worker", "ending_job"}
    ] == ["stopping_worker", "ending_job"]
    assert "Waiting for job to finish: worker: wait[" in records.text
    assert "Stopped worker on all queues" in records.text


async def test_what_an_exchange_claimed_while_the_worker_was_told_to_stop_is_given_back(
    app: App, database: Database, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[bool] = []

    @app.task(name="t")
    async def task() -> None:
        ran.append(True)

    job_id = await task.defer_async()
    worker = Worker(app, install_signal_handlers=False)
    send: Any = app.connector.call_async

    async def call_async(call: Any, **options: Any) -> Any:
        answer = await send(call, **options)
        if call.function.name == "procrastinate_finish_and_fetch_v1" and answer.claimed:
            worker.stop()
        return answer

    intercept(app, monkeypatch, call_async)
    await run_to_its_end(worker)

    assert ran == []
    job = await database.job(job_id)
    assert (job.status, job.attempts) == ("todo", 0)


@pytest.mark.parametrize("retry", [False, True])
async def test_after_the_graceful_timeout_async_jobs_are_cancelled(
    app: App,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
    retry: bool,
) -> None:
    reasons: list[Any] = []

    @app.task(name="t", pass_context=True, retry=retry)
    async def task(context: JobContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            reasons.append(context.abort_reason())

    job_id = await task.defer_async()
    run = await start_worker(shutdown_graceful_timeout=0.05)
    await run.until_it_runs()
    await run.stop()

    job = await database.job(job_id)
    assert (job.status, job.attempts) == ("todo" if retry else "aborted", 1)
    assert reasons == [AbortReason.SHUTDOWN]
    assert "1 jobs still running after graceful timeout. Aborting them" in records.text


async def test_after_the_graceful_timeout_sync_jobs_see_that_they_should_abort(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    pause = threading.Event()

    @app.task(name="t", pass_context=True)
    def task(context: JobContext) -> None:
        while not context.should_abort():
            pause.wait(0.005)
        assert context.abort_reason() is AbortReason.SHUTDOWN
        raise exceptions.JobAborted

    job_id = await task.defer_async()
    run = await start_worker(shutdown_graceful_timeout=0)
    await run.until_it_runs()
    await run.stop()
    assert await database.status(job_id) == "aborted"


async def test_a_job_that_ignores_the_abort_is_waited_for(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    gate = asyncio.Event()

    @app.task(name="t")
    async def task() -> str:
        while True:
            try:
                await gate.wait()
            except asyncio.CancelledError:
                gate.set()
                continue
            return "done all the same"

    job_id = await task.defer_async()
    run = await start_worker(shutdown_graceful_timeout=0)
    await run.until_it_runs()
    await run.stop()
    assert await database.status(job_id) == "succeeded"


async def test_cancelled_once_the_worker_stops_gracefully(
    app: App, database: Database, start_worker: StartWorker, gate: asyncio.Event
) -> None:
    job_id = await app.configure_task("wait").defer_async()
    run = await start_worker()
    await run.until_it_runs()
    run.task.cancel()
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await run.ended()
    assert await database.status(job_id) == "succeeded"
    assert not database.conn.execute("select 1 from procrastinate_workers").fetchone()


async def test_cancelled_twice_the_worker_aborts_what_runs(
    app: App, database: Database, start_worker: StartWorker, gate: asyncio.Event
) -> None:
    job_id = await app.configure_task("wait").defer_async()
    run = await start_worker()
    await run.until_it_runs()
    run.task.cancel()
    await asyncio.sleep(0)
    run.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run.ended()
    assert await database.status(job_id) == "aborted"


async def test_cancelled_twice_the_worker_leaves_a_thread_that_does_not_listen(
    app: App,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutdown, "LAST_MOMENT", 0.05)
    gate = threading.Event()

    @app.task(name="t")
    def task() -> None:
        gate.wait(30)

    job_id = await task.defer_async()
    run = await start_worker()
    await run.until_it_runs()
    run.task.cancel()
    await asyncio.sleep(0)
    run.task.cancel()
    try:
        with pytest.raises(asyncio.CancelledError):
            await run.ended()
        # Its row stays, and is pruned when the thread has had time to end.
        assert database.conn.execute("select 1 from procrastinate_workers").fetchone()
        assert await database.status(job_id) == "doing"
        (record,) = [
            r for r in records.records if r.__dict__.get("action") == "jobs_left_behind"
        ]
        assert (record.levelno, record.getMessage()) == (
            logging.WARNING,
            f"1 jobs did not end, and are left behind: t[{job_id}]()",
        )
    finally:
        gate.set()


async def test_cancelled_twice_the_worker_cancels_what_ignored_the_abort_when_it_leaves(
    app: App,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutdown, "LAST_MOMENT", 0.05)
    cancelled: list[int] = []

    @app.task(name="t")
    async def task(n: int) -> None:
        for _ in range(2):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(n)

    first, second = await task.batch_defer_async({"n": 1}, {"n": 2})
    run = await start_worker(concurrency=2)
    await run.until_it_runs(2)
    run.task.cancel()
    await asyncio.sleep(0)
    run.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run.ended()
    assert cancelled == [1, 2, 1, 2]
    (record,) = [r for r in records.records if r.__dict__.get("action") == "jobs_left_behind"]
    assert record.getMessage() == (
        f"2 jobs did not end, and are left behind: t[{first}](...), t[{second}](...)"
    )


@pytest.mark.parametrize("kind", ["worker middleware", "sync middleware", "task"])
async def test_a_job_may_stop_its_worker(
    app: App, database: Database, drain: Drain, kind: str
) -> None:
    worker = Worker(app, install_signal_handlers=False)
    # The loop then objects to whoever touches it from another thread.
    asyncio.get_running_loop().set_debug(True)

    def stop(call_next: Any, context: Any, worker: Worker) -> Any:
        worker.stop()
        return call_next()

    async def stop_async(call_next: Any, context: Any, worker: Worker) -> Any:
        worker.stop()
        return await call_next()

    @app.task(name="t")
    def task() -> None:
        if kind == "task":
            worker.stop()

    if kind == "worker middleware":
        worker.worker_middleware.append(stop_async)
    elif kind == "sync middleware":
        worker.task_middleware.append(stop)
    await task.batch_defer_async({}, {})
    await run_to_its_end(worker)
    assert sorted(map(str, await database.statuses())) == ["succeeded", "todo"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_the_worker_and_the_previous_handlers_are_back(
    app: App, database: Database, gate: asyncio.Event, signum: signal.Signals
) -> None:
    before = signal.getsignal(signum)
    job_id = await app.configure_task("wait").defer_async()
    worker = Worker(app)
    task = asyncio.create_task(worker.run())
    async with asyncio.timeout(PATIENCE):
        while not worker.running:  # noqa: ASYNC110 (it is not announced)
            await asyncio.sleep(0.002)
    os.kill(os.getpid(), signum)
    async with asyncio.timeout(PATIENCE):
        while not worker.shutdown.requested:  # noqa: ASYNC110 (a signal comes when it comes)
            await asyncio.sleep(0)
        assert signal.getsignal(signum) == before
        gate.set()
        await task
    assert await database.status(job_id) == "succeeded"


@pytest.mark.parametrize("method", ["run", "_compare"])
async def test_a_side_task_that_fails_stops_the_worker_gracefully(
    app: App,
    database: Database,
    records: pytest.LogCaptureFixture,
    gate: asyncio.Event,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    async def broken(*_: Any) -> None:
        raise ZeroDivisionError("broken")

    gate.set()
    job_id = await app.configure_task("wait").defer_async()
    worker = Worker(app, install_signal_handlers=False, update_heartbeat_interval=0.01)
    monkeypatch.setattr(worker.heartbeat, method, broken)
    await run_to_its_end(worker)
    (record,) = [r for r in records.records if r.__dict__.get("action") == "side_task_failed"]
    assert record.levelno == logging.ERROR
    assert (
        record.getMessage()
        == "Side task heartbeat failed with exception: broken, stopping worker"
    )
    assert (record.__dict__["task_name"], record.__dict__["exception"]) == (
        "heartbeat",
        "broken",
    )
    assert record.exc_info is not None
    (again,) = [r for r in records.records if r.name == "procrastinate.utils"]
    assert (again.levelno, again.__dict__["action"], again.getMessage()) == (
        logging.ERROR,
        "update_heartbeats_error",
        "update_heartbeats error: ZeroDivisionError('broken')",
    )
    assert await database.status(job_id) in {"succeeded", "todo"}


@pytest.fixture
def failures(app: App, monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What the next exchanges of a worker raise, instead of being made."""
    failures: list[Exception] = []
    send: Any = app.connector.call_async

    async def call_async(call: Any, **options: Any) -> Any:
        if call.function.name == "procrastinate_finish_and_fetch_v1" and failures:
            raise failures.pop(0)
        return await send(call, **options)

    intercept(app, monkeypatch, call_async)
    return failures


@pytest.mark.parametrize(("retry", "becomes"), [(False, "failed"), (True, "todo")])
async def test_a_worker_that_a_failure_ends_reports_what_ends_after_it(
    app: App,
    database: Database,
    start_worker: StartWorker,
    failures: list[Exception],
    records: pytest.LogCaptureFixture,
    retry: bool,
    becomes: str,
) -> None:
    gate = asyncio.Event()

    @app.task(name="t", retry=RetryStrategy(wait=3600) if retry else False)
    async def task() -> None:
        await gate.wait()
        raise ValueError

    job_id = await task.defer_async()
    run = await start_worker(concurrency=2, listen_notify=False)
    await run.until_it_runs()
    failures.append(exceptions.ConnectorException("refused"))
    run.worker.claims.wake()
    while not run.worker.shutdown.requested:  # noqa: ASYNC110 (it is not announced)
        await asyncio.sleep(0)
    assert not run.task.done()  # It waits for what runs.
    gate.set()
    with pytest.raises(exceptions.ConnectorException, match="refused"):
        await run.ended()
    job = await database.job(job_id)
    assert (job.status, job.attempts) == (becomes, 1)
    assert "ends_not_saved" not in actions(records)


async def test_a_last_report_that_fails_too_leaves_the_first_failure_and_names_the_jobs(
    app: App,
    database: Database,
    start_worker: StartWorker,
    gate: asyncio.Event,
    failures: list[Exception],
    records: pytest.LogCaptureFixture,
) -> None:
    first, second = await app.configure_task("wait").batch_defer_async({}, {})
    run = await start_worker(concurrency=2, listen_notify=False)
    await run.until_it_runs(2)
    # It tries twice more: at once, and when nothing runs any more.
    failures += [exceptions.ConnectorException(text) for text in ("refused", "again", "again")]
    gate.set()
    with pytest.raises(exceptions.ConnectorException, match="refused"):
        await run.ended()
    assert await database.statuses() == ["doing", "doing"]
    (record,) = [r for r in records.records if r.__dict__.get("action") == "ends_not_saved"]
    assert (record.levelno, record.getMessage()) == (
        logging.ERROR,
        "The ends of 2 jobs could not be saved; they stay in doing: "
        f"wait[{first}](), wait[{second}]()",
    )
    assert failures == []


async def test_a_worker_that_is_to_stop_tries_for_a_while_to_report_what_ended(
    app: App,
    database: Database,
    start_worker: StartWorker,
    gate: asyncio.Event,
    failures: list[Exception],
) -> None:
    job_id = await app.configure_task("wait").defer_async()
    run = await start_worker(concurrency=1, listen_notify=False)
    await run.until_it_runs()
    failures.append(exceptions.DatabaseUnavailable())
    run.worker.stop()
    gate.set()
    await run.ended()
    assert await database.status(job_id) == "succeeded"
    assert failures == []


async def test_a_worker_that_gave_the_database_up_tries_no_last_report(
    app: App,
    database: Database,
    start_worker: StartWorker,
    gate: asyncio.Event,
    failures: list[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(claim, "GIVE_UP_AFTER", -1.0)
    job_id = await app.configure_task("wait").defer_async()
    run = await start_worker(concurrency=1, listen_notify=False)
    await run.until_it_runs()
    failures.append(exceptions.DatabaseUnavailable())
    run.worker.stop()
    gate.set()
    with pytest.raises(exceptions.DatabaseUnavailable):
        await run.ended()
    assert await database.status(job_id) == "doing"  # where recovery finds it


async def test_a_side_task_of_two_words_is_one_word_in_its_action(
    app: App, records: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(listener.AbortPoller, "run", broken)
    await run_to_its_end(Worker(app, install_signal_handlers=False))
    assert "Side task abort poller failed with exception" in records.text
    assert "abort_poller_error" in actions(records)


async def test_a_bad_cron_expression_stops_the_worker(
    app: App, records: pytest.LogCaptureFixture
) -> None:
    @app.periodic(cron="not a cron")
    @app.task(name="t")
    async def _(timestamp: int) -> None: ...

    worker = Worker(app, install_signal_handlers=False)
    await run_to_its_end(worker)
    assert "Side task deferrer failed with exception" in records.text
    assert "deferrer_error" in actions(records)


async def test_a_connector_that_cannot_listen_stops_the_worker(
    app: App, records: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listen_notify(**_: Any) -> None:
        raise NotImplementedError("listen/notify is not supported")

    monkeypatch.setattr(app.connector, "listen_notify", listen_notify)
    worker = Worker(app, install_signal_handlers=False)
    await run_to_its_end(worker)
    assert "Side task listener failed" in records.text
    assert "listener_error" in actions(records)
