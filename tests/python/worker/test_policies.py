"""Retries as the job's data says, and what is kept of each attempt that failed."""

from __future__ import annotations

import asyncio
import datetime
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import JobContext, exceptions, retry

from .conftest import Database, Drain, StartWorker, actions

if TYPE_CHECKING:
    from procrastinate import App


def errors_of(database: Database, job_id: int) -> list[dict[str, Any]]:
    """The records of all attempts of a job that failed."""
    rows = database.conn.execute(
        "select details from procrastinate_events"
        " where job_id = %s and details is not null order by id",
        [job_id],
    ).fetchall()
    return [dict(details) for (details,) in rows]


async def test_a_job_runs_as_often_as_its_data_allows(
    app: App, database: Database, drain: Drain, records: pytest.LogCaptureFixture
) -> None:
    @app.task(name="t", max_attempts=3)
    async def task() -> None:
        raise ValueError("no")

    job_id = await task.defer_async()

    await drain()

    job = await database.job(job_id)
    assert (job.status, job.attempts) == ("failed", 3)
    logged = [action for action in actions(records) if action.startswith("job_error")]
    assert logged == ["job_error_retry", "job_error_retry", "job_error"]
    assert [error["attempt"] for error in errors_of(database, job_id)] == [1, 2, 3]


async def test_a_job_that_succeeds_in_time_is_not_tried_again(
    app: App, database: Database, drain: Drain, records: pytest.LogCaptureFixture
) -> None:
    runs = 0

    @app.task(max_attempts=5)
    async def task() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise ValueError("not yet")

    job_id = await task.defer_async()

    await drain()

    job = await database.job(job_id)
    assert (job.status, job.attempts, runs) == ("succeeded", 3, 3)
    assert "job_error" not in actions(records)


async def test_the_pause_is_that_of_the_data(
    app: App, database: Database, drain: Drain
) -> None:
    @app.task(name="t")
    async def task() -> None:
        raise ValueError("no")

    # As another program would, that knows no task.
    job_id = await app.configure_task(
        "t", max_attempts=9, retry_delay=datetime.timedelta(minutes=2)
    ).defer_async()

    await drain()

    job = await database.job(job_id)
    assert job.status == "todo"
    assert job.scheduled_at is not None
    ahead = (job.scheduled_at - datetime.datetime.now(datetime.UTC)).total_seconds()
    assert 90 < ahead < 121


async def test_a_strategy_in_python_wins_over_the_data(
    app: App, database: Database, drain: Drain
) -> None:
    @app.task(retry=retry.RetryStrategy(max_attempts=1), max_attempts=7)
    async def task() -> None:
        raise ValueError("no")

    job_id = await task.defer_async()

    await drain()

    job = await database.job(job_id)
    assert (job.status, job.attempts) == ("failed", 2)


async def test_a_job_of_an_unknown_task_is_tried_again_as_its_data_says(
    app: App, database: Database, drain: Drain
) -> None:
    job_id = await app.configure_task("elsewhere", max_attempts=2).defer_async()

    await drain()

    job = await database.job(job_id)
    assert (job.status, job.attempts) == ("failed", 2)


@pytest.mark.parametrize("max_attempts", [1, 2])
async def test_a_job_that_was_aborted_by_a_user_is_not_tried_again(
    app: App, database: Database, start_worker: StartWorker, max_attempts: int
) -> None:
    begun = asyncio.Event()

    @app.task(max_attempts=max_attempts)
    async def task() -> None:
        begun.set()
        await asyncio.Event().wait()

    job_id = await task.defer_async()
    await start_worker()
    await begun.wait()
    await app.job_manager.cancel_job_by_id_async(job_id, abort=True)

    await database.until_status(job_id, "aborted")


async def test_a_job_that_a_shutdown_cancels_is_put_back_if_its_data_allows(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    begun = asyncio.Event()

    @app.task()
    async def task() -> None:
        begun.set()
        await asyncio.Event().wait()

    again = await task.configure(max_attempts=2).defer_async()
    last = await task.configure(max_attempts=1).defer_async()
    run = await start_worker(concurrency=2, shutdown_graceful_timeout=0.01)
    await run.until_it_runs(2)
    await run.stop()

    assert [await database.status(job_id) for job_id in (again, last)] == ["todo", "aborted"]


async def test_each_failed_attempt_leaves_what_it_raised(
    app: App, database: Database, drain: Drain
) -> None:
    runs = 0

    @app.task(name="t", retry=1)
    def task() -> None:
        nonlocal runs
        runs += 1
        raise KeyError(f"run {runs}")

    job_id = await task.defer_async()

    await drain()

    first, second = errors_of(database, job_id)
    assert (first["class"], first["message"], first["attempt"]) == (
        "builtins.KeyError",
        "'run 1'",
        1,
    )
    assert (second["message"], second["attempt"]) == ("'run 2'", 2)
    assert 'raise KeyError(f"run {runs}")' in second["traceback"]


class SilentError(Exception):
    """One that can't say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


NASTY: list[tuple[BaseException, str]] = [
    (ValueError("a\x00b"), "a\\x00b"),
    (ValueError("\ud800"), "\\ud800"),
    (ValueError("x" * 200_000), "[… cut …]"),
    (SilentError(), "SilentError without a message"),
    (SystemExit(3), "3"),
]


@pytest.mark.parametrize(("raised", "words"), NASTY, ids=lambda value: repr(value)[:30])
async def test_no_error_is_too_strange_to_be_kept(
    app: App,
    database: Database,
    drain: Drain,
    raised: BaseException,
    words: str,
) -> None:
    @app.task(ttl=0)
    async def task() -> None:
        raise raised

    job_id = await task.defer_async()

    await drain()

    (error,) = errors_of(database, job_id)
    assert words in error["message"]
    assert max(len(error[part].encode()) for part in ("message", "traceback")) <= 65_536
    with pytest.raises(exceptions.JobFailed):
        await app.job_manager.get_result_async(job_id)


async def test_a_failure_by_policy_is_deleted_if_failures_are(
    app: App, database: Database, drain: Drain
) -> None:
    @app.task(max_attempts=2, pass_context=True)
    async def task(context: JobContext) -> None:
        raise ValueError("no")

    await task.defer_async()

    await drain(delete_jobs="always")

    assert await database.statuses() == []
