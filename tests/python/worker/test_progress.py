"""What running jobs tell of themselves, and how seldom the database is asked to note it."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import App, JobContext, exceptions
from procrastinate.rpc import results

from .conftest import PATIENCE, Database, Drain, StartWorker, actions, intercept

if TYPE_CHECKING:
    from procrastinate.rpc.call import Call
    from procrastinate.types import JSONDict


class Seen:
    """The calls of an app's worker, counted; some may fail."""

    def __init__(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[str] = []
        self.failing = 0
        self._send = app.connector.call_async
        intercept(app, monkeypatch, self._call)

    async def _call(self, call: Call[Any], **options: Any) -> Any:
        name = call.function.name.removeprefix("procrastinate_")
        if name == "update_jobs_v1" and self.failing:
            self.failing -= 1
            raise exceptions.DatabaseUnavailable
        self.sent.append(name)
        return await self._send(call, **options)

    @property
    def updates(self) -> int:
        """How many statements told the database of updates."""
        return self.sent.count("update_jobs_v1")


def jobs(count: int) -> list[JSONDict]:
    """The arguments of so many jobs: n from 0."""
    return [{"n": n} for n in range(count)]


async def report_of(app: App, job_id: int) -> Any:
    """What the database knows of a job."""
    return await app.job_manager.get_report_async(job_id)


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_the_last_update_is_there_when_the_job_has_ended(
    app: App, drain: Drain, colour: str
) -> None:
    if colour == "async":

        @app.task(name="t", pass_context=True, ttl=0)
        async def _(context: JobContext) -> None:
            for step in range(1, 5):
                context.update(progress=step / 8, meta={"step": step})
            context.update(progress=0.75)
    else:

        @app.task(name="t", pass_context=True, ttl=0)
        def _(context: JobContext) -> None:
            for step in range(1, 5):
                context.update(progress=step / 8, meta={"step": step})
            context.update(progress=0.75)

    job_id = await app.configure_task("t").defer_async()

    await drain()

    report = await report_of(app, job_id)
    assert (report.status, report.progress, report.meta) == ("succeeded", 0.75, {"step": 4})


async def test_an_update_is_seen_while_the_job_runs_and_listeners_hear_of_it(
    app: App, start_worker: StartWorker
) -> None:
    released, listening, heard = asyncio.Event(), asyncio.Event(), asyncio.Event()
    payloads: list[Any] = []

    @app.task(pass_context=True)
    async def task(context: JobContext) -> None:
        context.update(progress=0.25, meta={"stage": "upload"})
        await released.wait()

    async def hear(*, channel: str, payload: str) -> None:
        payloads.append(json.loads(payload))
        heard.set()

    listener = asyncio.create_task(
        app.connector.listen_notify(
            on_notification=hear,
            channels=["procrastinate_progress_v1"],
            on_listening=listening.set,
        )
    )
    await listening.wait()
    job_id = await task.defer_async()
    run = await start_worker()
    async with asyncio.timeout(PATIENCE):
        await heard.wait()
    report = await report_of(app, job_id)
    released.set()
    await run.stop()
    listener.cancel()
    await asyncio.wait([listener])

    assert payloads == [{"type": "job_progress", "job_ids": [job_id]}]
    assert (report.status, report.progress, report.meta) == (
        "doing",
        0.25,
        {"stage": "upload"},
    )


async def test_ten_thousand_updates_of_a_hundred_jobs_cost_few_statements(
    app: App, database: Database, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(app, monkeypatch)

    @app.task(pass_context=True, ttl=0)
    async def task(context: JobContext, n: int) -> None:
        for step in range(1, 101):
            context.update(progress=step / 100)
            await asyncio.sleep(0)  # the others' turn

    await task.configure().batch_defer_async(*jobs(100))

    await drain(concurrency=100)

    assert seen.updates < 100
    (done,) = database.conn.execute(
        "select count(*) from procrastinate_results where progress = 1"
    ).fetchone() or (0,)
    assert done == 100


async def test_a_job_that_tells_all_the_time_is_heard_ten_times_a_second(
    app: App, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(app, monkeypatch)

    @app.task(pass_context=True, ttl=0)
    async def task(context: JobContext) -> int:
        loop, calls = asyncio.get_running_loop(), 0
        until = loop.time() + 0.35
        while loop.time() < until:
            calls += 1
            context.update(progress=calls / 1_000_000)
            await asyncio.sleep(0)
        return calls

    job_id = await task.defer_async()

    await drain()

    assert await app.job_manager.get_result_async(job_id) > 100
    assert 2 <= seen.updates <= 6  # at once, after each 100 ms, and at the end


async def test_eight_threads_may_tell_at_once(
    app: App, database: Database, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(app, monkeypatch)
    together = threading.Barrier(8)

    @app.task(pass_context=True, ttl=0)
    def task(context: JobContext, n: int) -> None:
        together.wait(PATIENCE)
        for step in range(1, 1001):
            context.update(progress=step / 1000, meta={"n": n})

    await task.configure().batch_defer_async(*jobs(8))

    await drain(concurrency=8)

    rows = database.conn.execute(
        "select progress, (meta ->> 'n')::int from procrastinate_results order by 2"
    ).fetchall()
    assert rows == [(1, n) for n in range(8)]
    assert seen.updates < 100


async def test_a_task_without_updates_costs_no_statement_more(
    app: App, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(app, monkeypatch)

    @app.task(pass_context=True)
    async def task(context: JobContext, n: int) -> None:
        context.touch()  # nobody asked for a heartbeat

    await task.configure().batch_defer_async(*jobs(5))

    await drain(concurrency=5)

    assert seen.updates == 0
    assert "finish_and_fetch_v2" not in seen.sent


async def test_a_database_that_is_gone_gets_the_update_when_it_is_back(
    app: App, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(app, monkeypatch)
    seen.failing = 2

    @app.task(pass_context=True, ttl=0)
    async def task(context: JobContext) -> None:
        context.update(progress=0.5)

    job_id = await task.defer_async()

    await drain()

    report = await report_of(app, job_id)
    assert (report.status, report.progress) == ("succeeded", 0.5)
    assert seen.updates == 1


async def test_a_worker_that_is_to_stop_ends_jobs_whose_last_word_reaches_nobody(
    app: App, database: Database, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(app, monkeypatch)
    seen.failing = 1000

    @app.task(pass_context=True, ttl=0)
    async def task(context: JobContext) -> None:
        run.worker.stop()
        context.update(progress=0.5)

    job_id = await task.defer_async()
    run = await start_worker(listen_notify=False)

    await run.ended()

    report = await report_of(app, job_id)
    assert (report.status, report.progress) == ("succeeded", None)
    assert seen.failing == 999  # it was told once, and then it was enough


async def test_an_update_that_the_database_refuses_hurts_no_other_job(
    app: App,
    database: Database,
    drain: Drain,
    monkeypatch: pytest.MonkeyPatch,
    records: pytest.LogCaptureFixture,
) -> None:
    make = results.update_jobs_v1

    def spoilt(**args: Any) -> Any:
        call = make(**args)
        call.args["p_progress"][:] = [
            2 if progress == 0.5 else progress for progress in call.args["p_progress"]
        ]
        return call

    monkeypatch.setattr(results, "update_jobs_v1", spoilt)
    together = asyncio.Event()
    told = 0

    @app.task(pass_context=True, ttl=0)
    async def task(context: JobContext, progress: float) -> None:
        nonlocal told
        context.update(progress=progress)
        told += 1
        if told == 3:
            together.set()
        await together.wait()

    await task.configure().batch_defer_async(
        {"progress": 0.1}, {"progress": 0.5}, {"progress": 0.9}
    )

    await drain(concurrency=3)

    rows = database.conn.execute(
        "select progress from procrastinate_results where progress is not null order by 1"
    ).fetchall()
    assert rows == [(0.1,), (0.9,)]
    assert "job_update_refused" in actions(records)
    assert await database.statuses() == ["succeeded"] * 3


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"progress": 1.5}, ValueError, "from 0 to 1"),
    ({"progress": float("nan")}, ValueError, "from 0 to 1"),
    ({"progress": "half"}, TypeError, "a number from 0 to 1"),
    ({"progress": True}, TypeError, "a number from 0 to 1"),
    ({"meta": ["no", "mapping"]}, TypeError, "must be a mapping"),
    ({"meta": {"what": object}}, TypeError, "can't be stored"),
    ({"meta": {"what": "a\x00b"}}, ValueError, "NUL"),
    ({"meta": {"what": float("inf")}}, ValueError, "can't be stored"),
]


@pytest.mark.parametrize(("told", "error", "words"), WRONG, ids=repr)
async def test_what_can_not_be_told_is_refused_where_it_is_told(
    app: App, database: Database, drain: Drain, told: Any, error: type[Exception], words: str
) -> None:
    raised: list[Exception] = []

    @app.task(pass_context=True)
    async def task(context: JobContext) -> None:
        try:
            context.update(**told)
        except Exception as exc:  # the test looks at it
            raised.append(exc)

    await task.defer_async()

    await drain()

    (exc,) = raised
    assert type(exc) is error
    assert words in str(exc)
    assert await database.statuses() == ["succeeded"]


async def test_a_context_outside_of_a_worker_takes_updates_and_forgets_them(app: App) -> None:
    @app.task(name="t")
    async def task() -> None: ...

    job = task.configure().job
    context = JobContext(app=app, job=job, start_timestamp=0, abort_reason=lambda: None)

    context.update(progress=0.5, meta={"a": 1})
    context.touch()

    with pytest.raises(ValueError, match="from 0 to 1"):
        context.update(progress=-1)
