"""How a run ends, and what that makes of the job."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import App, JobContext, RetryDecision, RetryStrategy, exceptions
from procrastinate.retry import BaseRetryStrategy

from .conftest import Database, Drain, actions

if TYPE_CHECKING:
    from procrastinate.jobs import Job


class Outcome(BaseException):
    """Something that is no Exception."""


ENDS: list[tuple[BaseException | None, str, str, int]] = [
    (None, "succeeded", "job_success", logging.INFO),
    (ValueError("no"), "failed", "job_error", logging.ERROR),
    (Outcome(), "failed", "job_error", logging.ERROR),
    (SystemExit(3), "failed", "job_error", logging.ERROR),
    (KeyboardInterrupt(), "failed", "job_error", logging.ERROR),
    (GeneratorExit(), "failed", "job_error", logging.ERROR),
    (StopIteration(), "failed", "job_error", logging.ERROR),
    (exceptions.JobAborted(), "aborted", "job_aborted", logging.INFO),
    (asyncio.CancelledError(), "aborted", "job_aborted", logging.INFO),
]


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize(("raised", "status", "action", "level"), ENDS, ids=repr)
async def test_what_a_task_raises_decides_what_its_job_becomes(
    app: App,
    database: Database,
    drain: Drain,
    records: pytest.LogCaptureFixture,
    colour: str,
    raised: BaseException | None,
    status: str,
    action: str,
    level: int,
) -> None:
    if colour == "async":

        @app.task(name="t")
        async def _() -> None:
            if raised:
                raise raised
    else:

        @app.task(name="t")
        def _() -> None:
            if raised:
                raise raised

    job_id = await app.configure_task("t").defer_async()

    await drain()

    job = await database.job(job_id)
    assert (job.status, job.attempts) == (status, 1)
    assert database.events(job_id) == ["deferred", "started", status]
    (record,) = [r for r in records.records if r.__dict__.get("action") == action]
    assert (record.levelno, record.name) == (level, "procrastinate.worker")
    assert (record.exc_info is None) is (raised is None)


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize(
    ("raised", "first_action"),
    [
        (ValueError("no"), "job_error_retry"),
        (SystemExit(3), "job_error_retry"),
        (asyncio.CancelledError(), "job_aborted_retry"),
    ],
    ids=repr,
)
async def test_a_run_that_failed_is_tried_again_at_once(
    app: App,
    database: Database,
    drain: Drain,
    records: pytest.LogCaptureFixture,
    colour: str,
    raised: BaseException,
    first_action: str,
) -> None:
    attempts: list[int] = []

    def work(context: JobContext) -> None:
        attempts.append(context.job.attempts)
        if len(attempts) == 1:
            raise raised

    if colour == "async":

        @app.task(name="t", retry=1, pass_context=True)
        async def _(context: JobContext) -> None:
            work(context)
    else:
        app.task(name="t", retry=1, pass_context=True)(work)

    job_id = await app.configure_task("t").defer_async()

    await drain()

    assert attempts == [0, 1]
    assert (await database.job(job_id)).attempts == 2
    assert await database.status(job_id) == "succeeded"
    assert first_action in actions(records)


async def test_aborted_is_never_tried_again(app: App, database: Database, drain: Drain) -> None:
    @app.task(retry=True)
    async def task() -> None:
        raise exceptions.JobAborted

    job_id = await task.defer_async()
    await drain()
    assert await database.status(job_id) == "aborted"


async def test_after_the_last_retry_the_job_has_failed(
    app: App, database: Database, drain: Drain
) -> None:
    @app.task(retry=2)
    async def task() -> None:
        raise ValueError

    job_id = await task.defer_async()
    await drain()

    assert database.events(job_id) == [
        "deferred",
        *["started", "scheduled", "deferred_for_retry"] * 2,
        "started",
        "failed",
    ]
    assert (await database.job(job_id)).attempts == 3


async def test_a_retry_decision_changes_what_it_names(
    app: App, database: Database, drain: Drain
) -> None:
    class Elsewhere(BaseRetryStrategy):
        def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:
            assert job.status == "doing"
            return RetryDecision(retry_in={"hours": 1}, priority=7, queue="slow", lock="other")

    @app.task(retry=Elsewhere())
    async def task() -> None:
        raise ValueError

    job_id = await task.defer_async()
    await drain()

    job = await database.job(job_id)
    assert (job.status, job.priority, job.queue, job.lock) == ("todo", 7, "slow", "other")
    assert job.scheduled_at is not None


async def test_a_retry_strategy_that_fails_fails_the_job_alone(
    app: App, database: Database, drain: Drain, records: pytest.LogCaptureFixture
) -> None:
    class Broken(RetryStrategy):
        def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:
            raise ZeroDivisionError

    @app.task(retry=Broken())
    async def task() -> None:
        raise ValueError

    first, second = await task.batch_defer_async({}, {})
    await drain()

    assert await database.status(first) == await database.status(second) == "failed"
    assert actions(records).count("retry_strategy_failed") == 2


async def test_a_retry_whose_queueing_lock_is_taken_fails_the_job(
    app: App, database: Database, drain: Drain
) -> None:
    @app.task(name="t", retry=RetryStrategy(max_attempts=1, wait=3600), queueing_lock="ql")
    async def task(first: bool) -> None:
        if first:
            await task.configure(schedule_in={"hours": 1}).defer_async(first=False)
            raise ValueError

    job_id = await task.defer_async(first=True)
    await drain()

    assert await database.status(job_id) == "failed"


async def test_an_unknown_task_fails_without_a_retry_or_a_middleware(
    app: App, database: Database, drain: Drain, records: pytest.LogCaptureFixture
) -> None:
    async def middleware(call_next: Any, context: Any, worker: Any) -> Any:
        raise AssertionError

    job_id = await app.configure_task("nobody.knows").defer_async()
    await drain(worker_middleware=[middleware])

    assert await database.status(job_id) == "failed"
    assert actions(records).index("task_not_found") < actions(records).index("job_error")


async def test_arguments_that_do_not_fit_fail_the_job(
    app: App, database: Database, drain: Drain
) -> None:
    @app.task(name="t")
    async def _(a: int) -> None: ...

    job_id = await app.configure_task("t").defer_async(b=1)
    await drain()
    assert await database.status(job_id) == "failed"


async def test_a_task_is_found_by_its_alias(app: App, database: Database, drain: Drain) -> None:
    @app.task(name="new", aliases=["old"])
    async def _() -> None: ...

    (job_id,) = [
        row[0]
        for row in database.conn.execute("select procrastinate_defer_job('default', 'old')")
    ]
    await drain()
    assert await database.status(job_id) == "succeeded"


@pytest.mark.parametrize(
    ("condition", "left"),
    [
        (None, ["succeeded", "failed", "aborted"]),
        ("never", ["succeeded", "failed", "aborted"]),
        ("successful", ["failed", "aborted"]),
        ("always", []),
    ],
)
async def test_ended_jobs_are_deleted_as_asked(
    app: App, database: Database, drain: Drain, condition: str | None, left: list[str]
) -> None:
    @app.task(name="t")
    async def task(end: str) -> None:
        if end == "failed":
            raise ValueError
        if end == "aborted":
            raise exceptions.JobAborted

    await task.batch_defer_async({"end": "ok"}, {"end": "failed"}, {"end": "aborted"})
    # Never begun, never deleted.
    job_id = await app.configure_task("t").defer_async()
    assert await app.job_manager.cancel_job_by_id_async(job_id)
    await drain(delete_jobs=condition)
    assert await database.statuses() == [*left, "cancelled"]


async def test_a_retried_job_is_not_deleted(app: App, database: Database, drain: Drain) -> None:
    @app.task(retry=RetryStrategy(max_attempts=1, wait=3600))
    async def task() -> None:
        raise ValueError

    await task.defer_async()
    await drain(delete_jobs="always")
    assert await database.statuses() == ["todo"]


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_arguments_without_names_fail_the_job_and_not_the_worker(
    app: App, database: Database, drain: Drain, colour: str
) -> None:
    if colour == "sync":

        @app.task(name="t")
        def _() -> None: ...

    else:

        @app.task(name="t")
        async def _() -> None: ...

    first = await app.configure_task("t").defer_async()
    # Foreign hands: no function of ours lets it through.
    rows = database.conn.execute(
        "insert into procrastinate_jobs (queue_name, task_name, args)"
        " values ('default', 't', '[1]') returning id"
    ).fetchall()
    last = await app.configure_task("t").defer_async()
    await drain()
    assert [await database.status(job_id) for job_id in (first, rows[0][0], last)] == [
        "succeeded",
        "failed",
        "succeeded",
    ]
