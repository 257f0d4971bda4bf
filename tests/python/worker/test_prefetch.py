"""Jobs that are claimed before there is a slot for them, and wait in the worker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from procrastinate import App, exceptions
from procrastinate.worker import Worker

from .conftest import PATIENCE, Database, Drain, StartWorker, actions, intercept, run_to_its_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from procrastinate.types import JSONDict

NEVER = 1000.0

#: How an abort gets to the worker when all other ways are closed.
WAYS: dict[str, dict[str, Any]] = {
    "notification": {"abort_job_polling_interval": NEVER},
    "polling": {"listen_notify": False, "abort_job_polling_interval": 0.05},
    "heartbeat": {
        "listen_notify": False,
        "abort_job_polling_interval": NEVER,
        "update_heartbeat_interval": 0.05,
    },
}


@attrs.define
class Gated:
    """An app's task ``gated``, each run of which says so and waits until it may end."""

    app: App
    ran: list[int] = attrs.field(factory=list[int])
    most: int = 0
    running: int = 0
    gate: asyncio.Event = attrs.field(factory=asyncio.Event)

    def __attrs_post_init__(self) -> None:
        @self.app.task(name="gated")
        async def gated(n: int) -> None:
            self.ran.append(n)
            self.running += 1
            self.most = max(self.most, self.running)
            await self.gate.wait()
            self.running -= 1

    async def defer(self, *numbers: int, **options: Any) -> list[int]:
        task = self.app.configure_task("gated", **options)
        arguments: list[JSONDict] = [{"n": n} for n in numbers]
        return await task.batch_defer_async(*arguments)

    async def until_it_runs(self, count: int = 1) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.ran) < count:  # noqa: ASYNC110 (it is not announced)
                await asyncio.sleep(0.002)


@pytest.fixture
async def gated(app: App) -> AsyncIterator[Gated]:
    gated = Gated(app)
    yield gated
    gated.gate.set()


async def until_doing(database: Database, count: int) -> None:
    await database.until("select 1 from procrastinate_doing having count(*) = %s", count)


async def test_a_worker_claims_so_many_more_and_runs_no_more_at_once(
    gated: Gated, database: Database, start_worker: StartWorker
) -> None:
    await gated.defer(*range(10))

    run = await start_worker(concurrency=2, prefetch=3)
    await gated.until_it_runs(2)
    run.worker.claims.wake()
    await until_doing(database, 5)
    gated.gate.set()
    await database.until(
        "select 1 from procrastinate_jobs where status = 'succeeded' having count(*) = 10"
    )
    await run.stop()

    assert gated.ran == list(range(10))
    assert gated.most == 2


@pytest.mark.parametrize("concurrency", [1, 30])
async def test_a_drain_runs_each_job_once(
    app: App, drain: Drain, database: Database, concurrency: int
) -> None:
    ran: list[int] = []

    @app.task(name="async")
    async def on_loop(n: int) -> None:
        ran.append(n)

    @app.task(name="sync")
    def in_thread(n: int) -> None:
        ran.append(n)

    for n in range(0, 200, 2):
        await on_loop.defer_async(n=n)
        await in_thread.defer_async(n=n + 1)
    await drain(concurrency=concurrency, prefetch=50)

    assert sorted(ran) == list(range(200))
    assert set(await database.statuses()) == {"succeeded"}


async def test_what_waits_in_the_worker_comes_before_a_higher_priority_that_came_later(
    gated: Gated, database: Database, start_worker: StartWorker
) -> None:
    await gated.defer(0, 1, 2)
    run = await start_worker(prefetch=2)
    await gated.until_it_runs()
    await gated.defer(3, priority=9)
    gated.gate.set()
    await database.until(
        "select 1 from procrastinate_jobs where status = 'succeeded' having count(*) = 4"
    )
    await run.stop()

    assert gated.ran == [0, 1, 2, 3]


async def test_of_those_that_wait_the_higher_priority_begins_first(
    gated: Gated, database: Database, start_worker: StartWorker
) -> None:
    await gated.defer(0, 1)
    run = await start_worker(prefetch=4)
    await gated.until_it_runs()
    await gated.defer(3, priority=-1)
    await gated.defer(2)
    await gated.defer(4, priority=9)
    await until_doing(database, 5)
    while len(run.worker.prefetched) < 4:  # noqa: ASYNC110 (it is not announced)
        await asyncio.sleep(0.002)
    gated.gate.set()
    await database.until(
        "select 1 from procrastinate_jobs where status = 'succeeded' having count(*) = 5"
    )
    await run.stop()

    assert gated.ran == [0, 4, 1, 2, 3]


@pytest.mark.parametrize("way", WAYS)
async def test_one_that_is_asked_to_abort_while_it_waits_never_begins(
    gated: Gated,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
    way: str,
) -> None:
    ids = await gated.defer(0, 1, 2)
    run = await start_worker(prefetch=2, **WAYS[way])
    await gated.until_it_runs()

    assert await gated.app.job_manager.cancel_job_by_id_async(ids[1], abort=True)
    await database.until_status(ids[1], "aborted")
    assert await database.status(ids[0]) == "doing"
    gated.gate.set()
    await database.until_status(ids[2], "succeeded")
    await run.stop()

    assert gated.ran == [0, 2]
    assert actions(records).count("job_aborted") == 1
    job = await database.job(ids[1])
    assert (job.attempts, job.abort_requested) == (1, False)


async def test_an_abort_that_is_heard_of_before_the_claims_answer_is_not_lost(
    app: App, gated: Gated, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await gated.defer(0, 1)
    worker = Worker(
        app,
        prefetch=1,
        wait=False,
        install_signal_handlers=False,
        listen_notify=False,
        abort_job_polling_interval=NEVER,
        update_heartbeat_interval=NEVER,
    )
    send: Any = app.connector.call_async

    async def call_async(call: Any, **options: Any) -> Any:
        answer = await send(call, **options)
        if call.function.name == "procrastinate_finish_and_fetch_v1" and answer.claimed:
            # Notified on another connection, which was faster than this answer.
            database.conn.execute("select procrastinate_abort_job(%s)", [ids[1]])
            worker.running.abort_by_id(ids[1])
        return answer

    gated.gate.set()
    intercept(app, monkeypatch, call_async)
    await run_to_its_end(worker)

    assert gated.ran == [0]
    assert await database.statuses() == ["succeeded", "aborted"]


async def test_a_worker_that_is_stopped_gives_back_at_once_what_waits(
    gated: Gated, database: Database, start_worker: StartWorker
) -> None:
    ids = await gated.defer(0, 1, 2)
    run = await start_worker(prefetch=5)
    await gated.until_it_runs()
    await until_doing(database, 3)

    run.worker.stop()
    await until_doing(database, 1)
    given_back = [await database.job(job_id) for job_id in ids[1:]]
    gated.gate.set()
    await run.ended()

    assert [(job.status, job.attempts) for job in given_back] == [("todo", 0)] * 2
    assert await database.statuses() == ["succeeded", "todo", "todo"]
    assert gated.ran == [0]


async def test_a_worker_that_fails_gives_back_what_waits_before_what_runs_has_ended(
    app: App, gated: Gated, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gated.defer(0, 1, 2)
    worker = Worker(app, prefetch=3, install_signal_handlers=False)
    send: Any = app.connector.call_async

    async def call_async(call: Any, **options: Any) -> Any:
        if call.function.name == "procrastinate_finish_and_fetch_v1" and gated.ran:
            raise exceptions.ConnectorException("refused")
        answer = await send(call, **options)
        if call.function.name == "procrastinate_release_jobs_v1":
            gated.gate.set()
        return answer

    intercept(app, monkeypatch, call_async)
    with pytest.raises(exceptions.ConnectorException, match="refused"):
        await run_to_its_end(worker)

    assert gated.ran == [0]
    assert await database.statuses() == ["doing", "todo", "todo"]


async def test_what_waits_is_known_to_the_heartbeat(
    gated: Gated,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
) -> None:
    ids = await gated.defer(0, 1)
    run = await start_worker(prefetch=1, update_heartbeat_interval=0.02)
    await gated.until_it_runs()
    beats = "select 1 from procrastinate_workers where last_heartbeat > %s"
    for _ in range(3):
        (now,) = database.conn.execute("select now()").fetchone() or (None,)
        await database.until(beats, now)
    gated.gate.set()
    await database.until_status(ids[1], "succeeded")
    await run.stop()

    assert "job_released" not in actions(records)
    assert database.events(ids[1]) == ["deferred", "started", "succeeded"]


async def test_one_that_waits_holds_its_lock(
    gated: Gated, database: Database, start_worker: StartWorker
) -> None:
    (first,) = await gated.defer(0)
    (waits,) = await gated.defer(1, lock="mine")
    (behind,) = await gated.defer(2, lock="mine")
    run = await start_worker(prefetch=5)
    await gated.until_it_runs()
    await database.until_status(waits, "doing")
    await start_worker(name="idle")
    await database.until("select 1 from procrastinate_workers having count(*) = 2")
    (last,) = await gated.defer(3)
    await database.until_status(last, "doing")

    assert await database.status(behind) == "todo"
    gated.gate.set()
    await database.until_status(behind, "succeeded")
    assert await database.status(first) == "succeeded"
    await run.stop()


async def test_what_waits_in_a_worker_that_was_taken_for_dead_is_given_back(
    gated: Gated,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
) -> None:
    ids = await gated.defer(0, 1)
    run = await start_worker(prefetch=1, update_heartbeat_interval=NEVER)
    await gated.until_it_runs()
    await database.until_status(ids[1], "doing")
    database.conn.execute(
        "update procrastinate_workers set last_heartbeat = now() - interval '1 hour'"
    )
    database.conn.execute("select procrastinate_prune_stalled_workers()")
    run.worker.heartbeat.look_now()
    await database.until(
        "select 1 from procrastinate_events where job_id = %s and type = 'started' "
        "having count(*) = 2",
        ids[1],
    )
    gated.gate.set()
    for job_id in ids:
        await database.until_status(job_id, "succeeded")
    await run.stop()

    assert gated.ran == [0, 1]
    assert "worker_registered_again" in actions(records)


async def test_a_number_below_zero_is_refused(app: App) -> None:
    with pytest.raises(ValueError, match="not -1"):
        await app.run_worker_async(prefetch=-1)
