"""A run that takes too long, or is silent for too long, is ended by its worker."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import threading
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import JobContext, exceptions, retry
from procrastinate.job_context import AbortReason

from .conftest import Database, Drain, StartWorker, actions

if TYPE_CHECKING:
    import psycopg

    from procrastinate import App

TIMEOUT_CLASS = "procrastinate.exceptions.JobTimeout"


def error_of(conn: psycopg.Connection, job_id: int) -> dict[str, Any]:
    """The record of the last error of a job, in its history."""
    row = conn.execute(
        "select details from procrastinate_events"
        " where job_id = %s and details is not null order by id desc limit 1",
        [job_id],
    ).fetchone()
    assert row is not None
    return dict(row[0])


async def test_a_coroutine_is_cancelled_at_its_deadline_and_its_job_fails(
    app: App, database: Database, drain: Drain, records: pytest.LogCaptureFixture
) -> None:
    @app.task(name="t", timeout=0.3)
    async def task() -> None:
        await asyncio.Event().wait()

    job_id = await task.defer_async()

    await drain()

    assert await database.status(job_id) == "failed"
    error = error_of(database.conn, job_id)
    assert error["class"] == TIMEOUT_CLASS
    assert error["message"] == f"Job t[{job_id}]() ran longer than its timeout of 0.3 s"
    assert "await asyncio.Event().wait()" in error["traceback"]  # where it was
    assert {"job_timeout", "job_error"} <= set(actions(records))


async def test_the_job_decides_its_timeout_before_its_task(
    app: App, database: Database, drain: Drain
) -> None:
    @app.task(name="t", timeout=3600)
    async def task() -> None:
        await asyncio.Event().wait()

    short = task.configure(timeout=datetime.timedelta(milliseconds=40))
    job_id = await short.defer_async()

    await drain()

    assert "its timeout of 0.04 s" in error_of(database.conn, job_id)["message"]


async def test_a_run_that_is_fast_enough_knows_nothing_of_its_timeout(
    app: App, database: Database, drain: Drain
) -> None:
    @app.task(timeout=3600, heartbeat=3600, pass_context=True)
    async def task(context: JobContext) -> None:
        assert not context.should_abort()

    job_id = await task.defer_async()

    await drain()

    assert await database.status(job_id) == "succeeded"


async def test_a_coroutine_that_ignores_its_timeout_has_failed_when_it_ends(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    told, released = asyncio.Event(), asyncio.Event()

    @app.task(name="t", timeout=0.03, ttl=60)
    async def task() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        told.set()
        await released.wait()
        return "as if nothing had happened"

    job_id = await task.defer_async()
    await start_worker()
    await told.wait()
    status_meanwhile = await database.status(job_id)
    released.set()
    await database.until_status(job_id, "failed")

    assert status_meanwhile == "doing"
    assert "went on, and ended after" in error_of(database.conn, job_id)["message"]
    assert database.events(job_id) == ["deferred", "started", "failed"]
    with pytest.raises(exceptions.JobTimeout):
        await app.job_manager.get_result_async(job_id)


@pytest.mark.parametrize("ending", ["returns", "raises JobAborted"])
async def test_a_thread_is_told_of_its_timeout_and_the_record_says_that_it_went_on(
    app: App, database: Database, drain: Drain, ending: str
) -> None:
    reasons: list[AbortReason | None] = []
    asked = threading.Event()

    @app.task(name="t", timeout=0.03, pass_context=True)
    def task(context: JobContext) -> None:
        while not context.should_abort():
            asked.wait(0.002)
        reasons.append(context.abort_reason())
        if ending != "returns":
            raise exceptions.JobAborted

    job_id = await task.defer_async()

    await drain()

    assert reasons == [AbortReason.TIMEOUT]
    assert await database.status(job_id) == "failed"
    error = error_of(database.conn, job_id)
    assert error["class"] == TIMEOUT_CLASS
    assert "Its thread could not be stopped: it went on" in error["message"]


async def test_a_job_that_was_asked_to_abort_first_is_aborted_not_out_of_time(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    begun, told, passed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @app.task(name="t", timeout=0.2)
    async def task() -> None:
        asyncio.get_running_loop().call_later(0.3, passed.set)
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.set()
            await passed.wait()  # beyond the timeout
            raise

    job_id = await task.defer_async()
    await start_worker()
    await begun.wait()
    await app.job_manager.cancel_job_by_id_async(job_id, abort=True)
    await told.wait()

    await database.until_status(job_id, "aborted")


async def test_a_timeout_is_an_error_like_others_to_a_retry_strategy(
    app: App, database: Database, drain: Drain
) -> None:
    runs = 0

    @app.task(
        timeout=0.03,
        retry=retry.RetryStrategy(max_attempts=3, retry_exceptions=[exceptions.JobTimeout]),
    )
    async def task() -> None:
        nonlocal runs
        runs += 1
        if runs < 2:
            await asyncio.Event().wait()

    job_id = await task.defer_async()

    await drain()

    assert await database.status(job_id) == "succeeded"
    assert runs == 2


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_a_job_that_gives_no_sign_of_life_fails_in_the_words_of_its_heartbeat(
    app: App, database: Database, drain: Drain, colour: str
) -> None:
    asked = threading.Event()
    if colour == "async":

        @app.task(name="t", heartbeat=0.05, pass_context=True)
        async def _(context: JobContext) -> None:
            await asyncio.Event().wait()
    else:

        @app.task(name="t", heartbeat=0.05, pass_context=True)
        def _(context: JobContext) -> None:
            while not context.should_abort():
                asked.wait(0.002)

    job_id = await app.configure_task("t").defer_async()

    await drain()

    assert await database.status(job_id) == "failed"
    message = error_of(database.conn, job_id)["message"]
    assert "gave no sign of life within its heartbeat of 0.05 s" in message


@pytest.mark.parametrize("sign", ["touch", "update"])
async def test_a_job_that_gives_signs_of_life_outlives_its_heartbeat(
    app: App, database: Database, drain: Drain, sign: str
) -> None:
    lasted: list[float] = []

    @app.task(heartbeat=0.1, pass_context=True)
    async def task(context: JobContext) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        while loop.time() < started + 0.25:
            tick = asyncio.Event()
            loop.call_later(0.02, tick.set)
            await tick.wait()
            if sign == "touch":
                context.touch()
            else:
                context.update(progress=0.5)
        lasted.append(loop.time() - started)

    job_id = await task.defer_async()

    await drain()

    assert await database.status(job_id) == "succeeded"
    assert lasted[0] > 0.2


async def test_a_sign_of_life_reaches_the_database(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    touched, released = asyncio.Event(), asyncio.Event()

    @app.task(heartbeat=0.4, pass_context=True)
    async def task(context: JobContext) -> None:
        loop = asyncio.get_running_loop()
        while not released.is_set():
            tick = asyncio.Event()
            loop.call_later(0.01, tick.set)
            await tick.wait()
            context.touch()
            touched.set()

    job_id = await task.defer_async()
    await start_worker()
    await touched.wait()
    (first,) = database.conn.execute(
        "select heartbeat_at from procrastinate_doing where job_id = %s", [job_id]
    ).fetchone() or (None,)

    await database.until(
        "select 1 from procrastinate_doing where job_id = %s and heartbeat_at > %s",
        job_id,
        first,
    )
    released.set()
    await database.until_status(job_id, "succeeded")
