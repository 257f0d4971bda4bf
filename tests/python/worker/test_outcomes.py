"""How a run ends, and what that makes of the job."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
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


async def test_a_sync_task_may_return_an_awaitable(
    app: App, database: Database, drain: Drain, records: pytest.LogCaptureFixture
) -> None:
    async def later(n: int) -> str:
        if n == 3:
            raise ValueError
        return f"the result {n}"

    @app.task(name="t")
    def task(n: int) -> Any:
        return later(n)

    # The first run of a task gets to its thread another way than those after it.
    await task.batch_defer_async({"n": 1}, {"n": 2}, {"n": 3})
    await drain()

    assert await database.statuses() == ["succeeded", "succeeded", "failed"]
    for n in (1, 2):
        assert f"Result: the result {n}" in records.text


async def test_a_sync_task_defers_more_and_sees_its_result_run(
    app: App, database: Database, drain: Drain
) -> None:
    @app.task(name="t")
    def task(n: int) -> None:
        if n:
            task.defer(n=n - 1)

    await task.defer_async(n=3)
    await drain()
    assert await database.statuses() == ["succeeded"] * 4


async def test_a_context_tells_of_its_job_and_is_its_own(app: App, drain: Drain) -> None:
    seen: list[JobContext] = []

    @app.task(name="t", pass_context=True, queue="q")
    async def task(context: JobContext) -> None:
        assert "mark" not in context.additional_context
        context.additional_context["mark"] = True
        seen.append(context)

    shared: list[int] = []
    await task.batch_defer_async({}, {})
    await drain(name="me", queues=["q"], additional_context={"shared": shared}, concurrency=2)

    first, second = seen
    assert first.app is app
    assert (first.worker_name, list(first.worker_queues or [])) == ("me", ["q"])
    assert first.job.status == "doing"
    assert first.job.id != second.job.id
    assert first.task is task
    for context in seen:
        assert context.additional_context["shared"] is shared
    assert first.start_timestamp == pytest.approx(time.time(), abs=60)
    assert first.queues_display == "queues q"
    assert first.abort_reason() is None
    assert first.should_abort() is False


async def test_a_context_of_a_worker_without_options_has_the_defaults(
    app: App, drain: Drain
) -> None:
    seen: list[JobContext] = []

    @app.task(name="t", pass_context=True)
    async def task(context: JobContext) -> None:
        seen.append(context)

    await task.defer_async()
    await drain()
    (context,) = seen
    assert (context.worker_name, context.worker_queues) == ("worker", None)
    assert (context.additional_context, context.job.attempts) == ({}, 0)


async def test_what_a_task_returns_does_not_reach_the_database(
    app: App, database: Database, drain: Drain
) -> None:
    @app.task(name="t")
    async def task() -> str:
        return "a secret"

    await task.defer_async()
    await drain()
    (rows,) = database.conn.execute(
        "select (select count(*) from procrastinate_results),"
        " (select string_agg(e::text, '') from procrastinate_events as e),"
        " (select string_agg(j::text, '') from procrastinate_jobs as j)"
    ).fetchall()
    assert rows[0] == 0
    assert "secret" not in rows[1] + rows[2]


async def test_middlewares_run_where_their_kind_runs(app: App, drain: Drain) -> None:
    loops_thread, threads = threading.current_thread(), dict[str, threading.Thread]()

    async def outer(call_next: Any, context: JobContext, worker: Any) -> Any:
        threads["worker"] = threading.current_thread()
        return await call_next()

    def inner(call_next: Any, context: JobContext, worker: Any) -> Any:
        threads["task middleware"] = threading.current_thread()
        return call_next()

    @app.task(name="t")
    def task() -> None:
        threads["task"] = threading.current_thread()

    await task.defer_async()
    await drain(worker_middleware=[outer], task_middleware=[inner])
    assert threads["worker"] is loops_thread
    assert threads["task middleware"] is threads["task"] is not loops_thread


async def test_sync_tasks_run_in_as_many_threads_as_the_worker_has_slots(
    app: App, drain: Drain
) -> None:
    threads: set[str] = set()
    barrier = threading.Barrier(3)

    @app.task(name="t")
    def task() -> None:
        barrier.wait(timeout=10)  # only three at once get through
        threads.add(threading.current_thread().name)

    await task.batch_defer_async({}, {}, {})
    await drain(concurrency=3)
    assert len(threads) == 3


async def test_the_arguments_of_a_middleware_may_have_any_names(
    app: App, drain: Drain, records: pytest.LogCaptureFixture
) -> None:
    async def of_the_worker(a: Any, b: Any, c: Any, /) -> Any:
        return f"{type(b).__name__}, {type(c).__name__}: {await a()}"

    def of_the_task(x: Any, y: Any, z: Any, /) -> Any:
        return f"{y.job.task_name}, {z.worker_name}: {x()}"

    @app.task(name="t")
    def task() -> str:
        return "r"

    await task.defer_async()
    await drain(worker_middleware=[of_the_worker], task_middleware=[of_the_task])
    assert "Result: JobContext, Worker: t, worker: r" in records.text


async def test_an_async_task_that_defers_as_sync_code_does_is_told_to_await(
    app: App, database: Database, drain: Drain, records: pytest.LogCaptureFixture
) -> None:
    @app.task(name="t")
    async def task() -> None:
        app.configure_task("other").defer()

    job_id = await task.defer_async()
    await drain()
    assert await database.statuses() == ["failed"]
    assert await database.status(job_id) == "failed"
    assert "just await the async function directly" in records.text


async def test_middlewares_wrap_in_order_and_change_the_result(
    app: App, drain: Drain, records: pytest.LogCaptureFixture
) -> None:
    order: list[str] = []

    def sync_one(name: str) -> Any:
        def middleware(call_next: Any, context: JobContext, worker: Any) -> Any:
            order.append(name)
            return f"{name}({call_next()})"

        return middleware

    def async_one(name: str) -> Any:
        async def middleware(call_next: Any, context: JobContext, worker: Any) -> Any:
            order.append(name)
            return f"{name}({await call_next()})"

        return middleware

    @app.task(name="a", task_middleware=[async_one("own")])
    async def _() -> str:
        return "a"

    @app.task(name="s", task_middleware=[sync_one("own")])
    def _() -> str:
        return "s"

    await app.configure_task("a").defer_async()
    await app.configure_task("s").defer_async()
    await drain(
        worker_middleware=[async_one("outer")],
        task_middleware=[async_one("wide-a"), sync_one("wide-s")],
    )

    assert "Result: outer(wide-a(own(a)))" in records.text
    assert "Result: outer(wide-s(own(s)))" in records.text
    assert order == ["outer", "wide-a", "own", "outer", "wide-s", "own"]
    assert "for sync task 's'" in records.text


async def test_a_middleware_may_swallow_or_skip(
    app: App, database: Database, drain: Drain
) -> None:
    ran: list[int] = []

    async def middleware(call_next: Any, context: JobContext, worker: Any) -> Any:
        if context.job.task_kwargs["n"] == 1:
            return None
        try:
            return await call_next()
        except ValueError:
            return None

    @app.task(name="t")
    def task(n: int) -> None:
        ran.append(n)
        raise ValueError

    await task.batch_defer_async({"n": 1}, {"n": 2})
    await drain(worker_middleware=[middleware])

    assert ran == [2]
    assert await database.statuses() == ["succeeded", "succeeded"]


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
