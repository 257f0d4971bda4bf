"""What is in vain is tried ever more rarely, and at once again after it was not."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest

from procrastinate import App, RetryStrategy, exceptions
from procrastinate.worker import waiting

from .conftest import Database, StartWorker, intercept

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
    await is_over.wait()
    await run.stop()
    held = [attempt for attempt in pauses.attempts if attempt >= 0]
    assert held[:5] == [0, 1, 2, 0, 1]


async def test_the_pauses_grow_while_the_database_is_away_and_begin_anew_after_that(
    app: App, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
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
    run = await start_worker(**QUIETLY)
    await is_over.wait()
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
        if call.function.name == "procrastinate_retry_jobs_v1" and failures:
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
