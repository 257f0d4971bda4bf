"""Workers, the command line and a replaced connector, without a database."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import (
    App,
    JobContext,
    PsycopgConnector,
    RetryStrategy,
    cli,
    exceptions,
    types,
)
from procrastinate.testing import InMemoryConnector
from procrastinate.worker import Worker

if TYPE_CHECKING:
    import pathlib

#: Seconds after which a test that waits has failed.
PATIENCE = 10.0


@pytest.fixture
def connector() -> InMemoryConnector:
    return InMemoryConnector()


@pytest.fixture
def app(connector: InMemoryConnector) -> App:
    return App(connector=connector)


async def drain(app: App, **options: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        await app.run_worker_async(wait=False, install_signal_handlers=False, **options)


async def until_nothing_is_asked(connector: InMemoryConnector) -> None:
    """Wait until a worker listens, and asks for nothing for many turns of the loop."""
    quiet, seen = 0, 0
    async with asyncio.timeout(PATIENCE):
        while quiet < 50:
            await asyncio.sleep(0)
            same = bool(connector.notify_channels) and len(connector.queries) == seen
            quiet, seen = quiet + 1 if same else 0, len(connector.queries)


@pytest.fixture
async def worker(app: App, connector: InMemoryConnector) -> AsyncIterator[Worker]:
    """An idle worker that waits for notifications alone: it polls once an hour."""
    worker = Worker(
        app,
        concurrency=2,
        fetch_job_polling_interval=3600,
        abort_job_polling_interval=3600,
        install_signal_handlers=False,
    )
    run = asyncio.create_task(worker.run())
    await until_nothing_is_asked(connector)
    yield worker
    worker.stop()
    await asyncio.wait_for(run, PATIENCE)


def test_run_worker_runs_all_that_is_due_and_ends(
    app: App, connector: InMemoryConnector
) -> None:
    seen: list[int] = []

    @app.task(name="sync")
    def sync(x: int) -> None:
        seen.append(x)

    @app.task(name="async")
    async def asynchronous(x: int) -> None:
        seen.append(x)
        if x < 3:
            await asynchronous.defer_async(x=x + 1)

    sync.defer(x=10)
    asynchronous.defer(x=1)
    sync.configure(schedule_in={"hours": 1}).defer(x=20)
    app.run_worker(wait=False, install_signal_handlers=False)

    assert sorted(seen) == [1, 2, 3, 10]
    assert [job["status"] for job in connector.jobs.values()] == [
        "succeeded",
        "succeeded",
        "todo",
        "succeeded",
        "succeeded",
    ]
    assert connector.states == ["open_async", "closed_async"]
    assert connector.workers == {}


async def test_the_jobs_of_a_lock_all_run_one_after_the_other(app: App) -> None:
    running = most = 0

    @app.task(name="locked", lock="l")
    async def locked() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await locked.batch_defer_async(*[types.JSONDict() for _ in range(20)])
    await drain(app, concurrency=10)
    assert most == 1
    assert [job.status for job in await app.job_manager.list_jobs_async()] == ["succeeded"] * 20


async def test_a_retry_leaves_the_events_and_attempts_that_it_leaves_in_postgresql(
    app: App, connector: InMemoryConnector
) -> None:
    @app.task(name="fails", retry=1)
    async def fails() -> None:
        raise ValueError("no")

    job_id = await fails.defer_async()
    await drain(app)
    assert [event["type"] for event in connector.events[job_id]] == [
        "deferred",
        "started",
        "scheduled",
        "deferred_for_retry",
        "started",
        "failed",
    ]
    assert connector.jobs[job_id]["attempts"] == 2


async def test_a_retry_in_an_hour_runs_when_the_clock_says_so(
    app: App, connector: InMemoryConnector
) -> None:
    runs: list[int] = []

    @app.task(name="later", retry=RetryStrategy(max_attempts=2, wait=3600), pass_context=True)
    async def later(context: JobContext) -> None:
        runs.append(context.job.attempts)
        if len(runs) == 1:
            raise ValueError("not yet")

    await later.defer_async()
    await drain(app)
    assert runs == [0]
    in_two_hours = connector.clock() + datetime.timedelta(hours=2)
    connector.clock = lambda: in_two_hours
    await drain(app)
    assert runs == [0, 1]


async def test_a_retry_whose_queueing_lock_is_taken_fails_with_the_reason_in_its_event(
    app: App, connector: InMemoryConnector
) -> None:
    @app.task(name="fails", queueing_lock="ql", retry=True)
    async def fails() -> None:
        if len(connector.jobs) == 1:
            await fails.configure(schedule_in={"hours": 1}).defer_async()
        raise ValueError("no")

    job_id = await fails.defer_async()
    await drain(app)
    assert connector.jobs[job_id]["status"] == "failed"
    assert "waits with the queueing lock ql" in connector.events[job_id][-1]["error"]


@pytest.mark.usefixtures("worker")
async def test_a_waiting_worker_hears_of_a_job_at_once(app: App) -> None:
    ran = asyncio.Event()

    @app.task(name="signal")
    async def signal() -> None:
        ran.set()

    await signal.defer_async()
    await asyncio.wait_for(ran.wait(), PATIENCE)


@pytest.mark.usefixtures("worker")
async def test_a_waiting_worker_hears_of_a_job_that_a_thread_defers(app: App) -> None:
    ran = asyncio.Event()

    @app.task(name="signal")
    async def signal() -> None:
        ran.set()

    @app.task(name="from a thread")
    def from_a_thread() -> None:
        signal.defer()

    await from_a_thread.defer_async()
    await asyncio.wait_for(ran.wait(), PATIENCE)


@pytest.mark.usefixtures("worker")
async def test_a_waiting_worker_hears_of_a_lock_that_becomes_free(
    app: App, connector: InMemoryConnector
) -> None:
    ran = asyncio.Event()

    @app.task(name="locked", lock="l")
    async def locked() -> None:
        ran.set()

    await app.configure_task("locked", queue="other", schedule_in={"hours": 1}).defer_async()
    await locked.defer_async()
    await until_nothing_is_asked(connector)
    assert not ran.is_set()
    await app.job_manager.cancel_job_by_id_async(1)
    await asyncio.wait_for(ran.wait(), PATIENCE)


@pytest.mark.usefixtures("worker")
async def test_a_waiting_worker_hears_of_a_retry_by_hand(
    app: App, connector: InMemoryConnector
) -> None:
    ended: asyncio.Queue[int] = asyncio.Queue()

    @app.task(name="again", pass_context=True)
    async def again(context: JobContext) -> None:
        await ended.put(context.job.attempts)
        raise ValueError("no")

    job_id = await again.defer_async()
    await asyncio.wait_for(ended.get(), PATIENCE)
    await until_nothing_is_asked(connector)
    assert connector.jobs[job_id]["status"] == "failed"
    await app.job_manager.retry_job_by_id_async(job_id, connector.clock())
    assert await asyncio.wait_for(ended.get(), PATIENCE) == 2


@pytest.mark.usefixtures("worker")
async def test_a_running_job_hears_at_once_that_it_is_to_abort(
    app: App, connector: InMemoryConnector
) -> None:
    started, aborted = asyncio.Event(), asyncio.Event()

    @app.task(name="endless")
    async def endless() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            aborted.set()

    job_id = await endless.defer_async()
    await asyncio.wait_for(started.wait(), PATIENCE)
    assert await app.job_manager.cancel_job_by_id_async(job_id, abort=True)
    await asyncio.wait_for(aborted.wait(), PATIENCE)
    await until_nothing_is_asked(connector)
    assert connector.jobs[job_id]["status"] == "aborted"


async def test_a_listener_hears_of_its_queues_and_of_no_other(
    app: App, connector: InMemoryConnector
) -> None:
    heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def hear(*, channel: str, notification: Any) -> None:
        await heard.put((channel, notification))

    long_queue = "ü" * 30  # 60 bytes: a channel has at most 63 with its prefix
    listening = asyncio.create_task(
        app.job_manager.listen_for_jobs(on_notification=hear, queues=["a", long_queue])
    )
    async with asyncio.timeout(PATIENCE):
        while not connector.notify_channels:  # noqa: ASYNC110 (not announced)
            await asyncio.sleep(0)
        for queue in ("b", "a", long_queue):
            await app.configure_task("t", queue=queue).defer_async()
        first, second = await heard.get(), await heard.get()
    assert first == ("procrastinate_queue_v1#a", {"type": "job_inserted", "job_id": 2})
    assert second[1] == {"type": "job_inserted", "job_id": 3}
    assert {first[0], second[0]} == set(connector.notify_channels)
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    assert heard.empty()


async def test_a_periodic_task_is_deferred_by_a_worker(
    app: App, connector: InMemoryConnector
) -> None:
    ran = asyncio.Event()

    @app.periodic(cron="* * * * * *", periodic_id="p")
    @app.task(name="tick", pass_context=False)
    async def tick(timestamp: int) -> None:
        ran.set()

    worker = Worker(app, install_signal_handlers=False)
    run = asyncio.create_task(worker.run())
    await asyncio.wait_for(ran.wait(), PATIENCE)
    worker.stop()
    await asyncio.wait_for(run, PATIENCE)
    job = connector.jobs[1]
    assert job["args"] == {"timestamp": next(iter(connector.periodic_defers.values()))}
    assert list(connector.periodic_defers) == [("tick", "p")]


async def test_a_replaced_connector_takes_the_jobs_and_the_worker_of_an_app() -> None:
    ran: list[int] = []
    app = App(connector=PsycopgConnector())

    @app.task(name="add")
    async def add(x: int) -> None:
        ran.append(x)

    memory = InMemoryConnector()
    with app.replace_connector(memory) as replaced:
        assert replaced is app
        await add.defer_async(x=1)
        await drain(app)
    assert ran == [1]
    assert memory.jobs[1]["status"] == "succeeded"
    with pytest.raises(exceptions.AppNotOpen):
        await add.defer_async(x=2)


def test_the_builtin_task_removes_old_jobs(app: App, connector: InMemoryConnector) -> None:
    @app.task(name="old")
    def old() -> None: ...

    old.defer()
    app.run_worker(wait=False, install_signal_handlers=False)
    in_two_days = connector.clock() + datetime.timedelta(days=2)
    connector.clock = lambda: in_two_days
    app.configure_task("builtin:procrastinate.builtin_tasks.remove_old_jobs").defer(
        max_hours=24
    )
    app.run_worker(wait=False, install_signal_handlers=False)
    assert list(connector.jobs) == [2]


PROGRAM = """
    import procrastinate
    from procrastinate.testing import InMemoryConnector

    connector = InMemoryConnector()
    app = procrastinate.App(connector=connector)

    @app.task(name="say")
    def say(word):
        print(word, flush=True)
"""


@pytest.fixture
def run(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run a command line on an app in memory; return what it printed."""
    (tmp_path / "memoryapp.py").write_text(textwrap.dedent(PROGRAM))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "memoryapp", raising=False)

    def run_one(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["procrastinate", "-a", "memoryapp.app", *arguments])
        capsys.readouterr()
        with contextlib.suppress(SystemExit):  # What it printed tells whether it worked.
            cli.main()
        return capsys.readouterr().out

    return run_one


def test_the_command_line_defers_and_works_on_an_app_in_memory(run: Callable[..., str]) -> None:
    assert run("healthchecks").splitlines() == [
        "App configuration: OK",
        "DB connection: OK",
        "Found procrastinate_jobs table: OK",
    ]
    run("defer", "say", '{"word": "hello"}')
    assert "hello" in run("worker", "--one-shot")
