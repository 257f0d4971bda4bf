"""What a run is given, what wraps it, and where it runs."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import App, JobContext

from .conftest import Database, Drain

if TYPE_CHECKING:
    pass


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
