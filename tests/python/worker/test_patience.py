"""What is in vain is tried ever more rarely, and at once again after it was not."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import attrs
import pytest

from procrastinate import App, RetryStrategy, exceptions
from procrastinate.rpc import values
from procrastinate.worker import Worker, listener, outage, waiting

from .conftest import PATIENCE, Database, StartWorker, actions, intercept

NEVER = 1_000_000.0
EXCHANGE = "procrastinate_finish_and_fetch_v1"
QUIETLY: dict[str, Any] = {
    "listen_notify": False,
    "fetch_job_polling_interval": 0.001,
    "update_heartbeat_interval": NEVER,
    "abort_job_polling_interval": NEVER,
}


class Pauses:
    """Records which attempt each pause was for; none of them takes time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.attempts: list[int] = []
        monkeypatch.setattr(waiting, "backoff", self._backoff)

    def _backoff(self, attempt: int, **_: float) -> float:
        self.attempts.append(attempt)
        return 0.0


async def test_the_pauses_grow_while_ready_jobs_are_held_and_begin_anew_after_that(
    app: App, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = Pauses(monkeypatch)
    send: Any = app.connector.call_async
    contended = [True, True, True, False, True, True]
    is_over = asyncio.Event()

    async def call_async(call: Any, **options: Any) -> Any:
        answer = await send(call, **options)
        if call.function.name != EXCHANGE:
            return answer
        if not contended:
            is_over.set()
            return answer
        return attrs.evolve(answer, contended=contended.pop(0))

    intercept(app, monkeypatch, call_async)
    run = await start_worker(**QUIETLY)
    await asyncio.wait_for(is_over.wait(), PATIENCE)
    await run.stop()
    held = [attempt for attempt in pauses.attempts if attempt >= 0]
    assert held[:5] == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("listens", [False, True])
async def test_the_pauses_grow_while_the_database_is_away_and_begin_anew_after_that(
    app: App, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch, listens: bool
) -> None:
    pauses = Pauses(monkeypatch)
    send: Any = app.connector.call_async
    answers = [False, False, False, True, False, False]
    is_over = asyncio.Event()

    async def call_async(call: Any, **options: Any) -> Any:
        if call.function.name == EXCHANGE:
            if not answers:
                is_over.set()
            elif not answers.pop(0):
                raise exceptions.DatabaseUnavailable
        return await send(call, **options)

    intercept(app, monkeypatch, call_async)
    # One that listens makes no call before its first exchange.
    run = await start_worker(**{**QUIETLY, "listen_notify": listens})
    await asyncio.wait_for(is_over.wait(), PATIENCE)
    await run.stop()
    away = [attempt for attempt in pauses.attempts if attempt >= 0]
    assert away[:5] == [0, 1, 2, 0, 1]


async def test_a_retry_that_could_not_be_told_is_told_again_though_nobody_wakes_the_worker(
    app: App,
    database: Database,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses = Pauses(monkeypatch)
    send: Any = app.connector.call_async
    failures = [exceptions.DatabaseUnavailable() for _ in range(3)]

    async def call_async(call: Any, **options: Any) -> Any:
        if call.function.name == "procrastinate_retry_jobs_v2" and failures:
            raise failures.pop()
        return await send(call, **options)

    @app.task(name="t", retry=RetryStrategy(wait=3600))
    async def task() -> None:
        raise ValueError

    intercept(app, monkeypatch, call_async)
    job_id = await task.defer_async()
    await start_worker(**{**QUIETLY, "fetch_job_polling_interval": NEVER})
    await database.until(
        "select 1 from procrastinate_jobs where id = %s and status = 'todo' and attempts = 1",
        job_id,
    )
    assert [attempt for attempt in pauses.attempts if attempt >= 0] == [0, 1, 2]


@pytest.mark.parametrize(("interval", "after_failure"), [(10.0, 1.0), (0.25, 0.25)])
async def test_a_beat_that_failed_is_made_again_soon_and_each_has_a_third_of_the_timeout(
    app: App, monkeypatch: pytest.MonkeyPatch, interval: float, after_failure: float
) -> None:
    pauses: list[float] = []
    answers: list[bool] = [True, False, False, True]
    timeouts: list[float] = []

    async def event_or_deadline(_: asyncio.Event, seconds: float) -> None:
        pauses.append(seconds)
        if not answers:
            raise asyncio.CancelledError

    async def call(call: Any, *, timeout: float | None = None) -> Any:
        if call.function.name == "procrastinate_sweep_v1":
            return values.Sweep(promoted=0, unlinked=0)
        if call.function.name == "procrastinate_heartbeat_v2":
            assert timeout is not None
            timeouts.append(timeout)
            if not answers.pop(0):
                raise exceptions.DatabaseUnavailable
        return []

    worker = Worker(app, update_heartbeat_interval=interval, stalled_worker_timeout=30)
    await worker.registration.register()
    monkeypatch.setattr(worker.outage, "call", call)
    monkeypatch.setattr(waiting, "event_or_deadline", event_or_deadline)
    with pytest.raises(asyncio.CancelledError):
        await worker.heartbeat.run()
    assert pauses == [interval, interval, after_failure, after_failure, interval]
    assert timeouts == [10.0] * 4


async def test_the_pauses_grow_while_a_worker_can_not_register(
    app: App,
    database: Database,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
    records: pytest.LogCaptureFixture,
) -> None:
    pauses = Pauses(monkeypatch)
    send: Any = app.connector.call_async
    failures = [exceptions.DatabaseUnavailable() for _ in range(3)]

    async def call_async(call: Any, **options: Any) -> Any:
        if call.function.name == "procrastinate_register_worker_v2" and failures:
            raise failures.pop()
        return await send(call, **options)

    intercept(app, monkeypatch, call_async)
    run = await start_worker(**{**QUIETLY, "fetch_job_polling_interval": NEVER})
    await database.until("select 1 from procrastinate_workers")
    async with asyncio.timeout(PATIENCE):
        while "start_worker" not in actions(records):  # noqa: ASYNC110 (it is not announced)
            await asyncio.sleep(0.002)
    await run.stop()
    assert pauses.attempts[:3] == [0, 1, 2]
    assert actions(records)[:4] == [
        "imported_tasks",
        "database_unavailable",
        "database_available",
        "start_worker",
    ]


async def test_the_pauses_grow_while_nobody_listens_and_begin_anew_after_that(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses = Pauses(monkeypatch)
    listens = [True, False, False, True, False]
    doubts: list[int] = []
    looks: list[int] = []

    async def listen_notify(*, on_listening: Any, **_: Any) -> None:
        if not listens:
            raise asyncio.CancelledError
        if listens.pop(0):
            on_listening()
        raise exceptions.DatabaseUnavailable

    worker = Worker(app)
    monkeypatch.setattr(app.connector, "listen_notify", listen_notify)
    monkeypatch.setattr(worker.claims.quiet, "doubt", lambda: doubts.append(len(listens)))
    monkeypatch.setattr(worker.claims, "wake", lambda: looks.append(len(listens)))
    with pytest.raises(asyncio.CancelledError):
        await listener.Listener(worker).run()
    assert pauses.attempts == [0, 1, 2, 0, 1]
    assert looks == [4, 1]
    assert doubts == [1]  # There was nobody to be heard before the first time.
    lost = [r for r in caplog.records if r.__dict__.get("action") == "listener_lost"]
    assert len(lost) == 5
    assert lost[0].getMessage() == (
        f"The connection that listens is lost: {exceptions.DatabaseUnavailable()!r}. "
        "Jobs are found by polling until it is back"
    )


async def test_a_connector_that_can_not_listen_is_asked_once(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    async def listen_notify(*, channels: Any, **_: Any) -> None:
        asked.append(channels)
        if len(asked) > 1:
            raise asyncio.CancelledError

    monkeypatch.setattr(app.connector, "listen_notify", listen_notify)
    await listener.Listener(Worker(app)).run()
    assert asked == [["procrastinate_any_queue_v1"]]


async def test_an_outage_is_said_once_and_its_end_is_a_reason_to_beat_and_to_look(
    app: App, monkeypatch: pytest.MonkeyPatch, records: pytest.LogCaptureFixture
) -> None:
    worker = Worker(app)
    done: list[str] = []
    monkeypatch.setattr(worker.heartbeat, "look_now", lambda: done.append("beat"))
    monkeypatch.setattr(worker.claims, "wake", lambda: done.append("look"))
    worker.outage.end()  # There was none.
    for _ in range(2):
        worker.outage.begin(exceptions.DatabaseUnavailable("gone"))
    assert done == []
    for _ in range(2):
        worker.outage.end()
    assert sorted(done) == ["beat", "look"]
    assert [(record.levelno, record.getMessage()) for record in records.records] == [
        (
            logging.WARNING,
            "The database does not answer: DatabaseUnavailable('gone'). "
            "Trying again until it does",
        ),
        (logging.INFO, "The database answers again, after 0.0 s"),
    ]


async def test_whoever_pauses_in_an_outage_goes_on_when_it_is_over(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "FIRST_PAUSE", NEVER)
    monkeypatch.setattr(outage, "LONGEST_PAUSE", NEVER)
    worker = Worker(app)
    worker.outage.end()
    pause = asyncio.create_task(worker.outage.pause(0))
    await asyncio.wait([pause], timeout=0)
    assert not pause.done()
    worker.outage.end()
    await asyncio.wait_for(pause, PATIENCE)


async def test_not_all_workers_pause_equally_long(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def event_or_deadline(_: asyncio.Event, seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(waiting, "event_or_deadline", event_or_deadline)
    for _ in range(20):
        await Worker(app).outage.pause(1)
    assert 2 * outage.FIRST_PAUSE >= max(pauses) > min(pauses) >= outage.FIRST_PAUSE
