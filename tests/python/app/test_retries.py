"""Retries of a real worker: where a strategy's decision ends up."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pytest

from procrastinate import App, BaseRetryStrategy, RetryDecision, RetryStrategy, utils

if TYPE_CHECKING:
    import psycopg

    from procrastinate.jobs import Job


async def test_a_wait_beyond_the_end_of_time_does_not_lose_the_job(
    open_app: App, conn: psycopg.Connection
) -> None:
    @open_app.task(name="t", retry=RetryStrategy(exponential_wait=10))
    async def task() -> None:
        raise ValueError

    job_id = await task.defer_async()
    conn.execute("update procrastinate_jobs set attempts = 1_000_000 where id = %s", [job_id])

    await open_app.run_worker_async(wait=False)

    (job,) = await open_app.job_manager.list_jobs_async()
    assert (job.status, job.attempts) == ("todo", 1_000_001)
    assert job.scheduled_at is not None
    assert job.scheduled_at.year >= 9998
    assert conn.execute("select * from procrastinate_check()").fetchall() == []


async def test_a_decision_without_a_time_retries_now(open_app: App) -> None:
    class Once(BaseRetryStrategy):
        def get_retry_decision(
            self, *, exception: BaseException, job: Job
        ) -> RetryDecision | None:
            assert job.status == "doing"
            return None if job.attempts else RetryDecision(priority=3)

    @open_app.task(name="t", retry=Once())
    def task() -> None:
        raise ValueError

    await task.defer_async()
    await open_app.run_worker_async(wait=False)

    (job,) = await open_app.job_manager.list_jobs_async()
    assert (job.status, job.attempts, job.priority) == ("failed", 2, 3)
    assert job.scheduled_at is not None
    assert abs(job.scheduled_at - utils.utcnow()) < datetime.timedelta(minutes=5)


@pytest.mark.parametrize("ahead", [-24, 24])
async def test_a_delay_is_one_by_the_clock_of_the_database(
    open_app: App, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    real, hour = utils.utcnow, datetime.timedelta(hours=1)

    @open_app.task(name="t", retry=RetryStrategy(max_attempts=1, wait=3600))
    async def task() -> None:
        raise ValueError

    await task.defer_async()
    monkeypatch.setattr(utils, "utcnow", lambda: real() + datetime.timedelta(hours=ahead))
    before = real()
    await open_app.run_worker_async(wait=False)

    (job,) = await open_app.job_manager.list_jobs_async()
    assert (job.status, job.attempts) == ("todo", 1)
    assert job.scheduled_at is not None
    assert before + hour <= job.scheduled_at <= real() + hour


def test_a_decision_has_a_delay_as_long_as_its_time_is_the_one_of_that_delay() -> None:
    changed = RetryDecision(retry_in={"minutes": 2})
    changed.retry_at = utils.utcnow()

    assert RetryDecision(retry_in={"minutes": 2}).retry_in == datetime.timedelta(minutes=2)
    assert changed.retry_in is None
    assert RetryDecision(retry_at=utils.utcnow()).retry_in is None
    assert RetryDecision().retry_in is None
