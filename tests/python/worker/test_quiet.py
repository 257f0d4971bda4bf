"""A busy worker is not notified, one that sleeps always is, and none says so without need."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import attrs
import psycopg
import psycopg.connection_async
import psycopg.waiting
import pytest

from procrastinate import App, PsycopgConnector
from procrastinate.worker import Worker, quiet

from .conftest import PATIENCE, Database, StartWorker, intercept, see_it_end
from .time_lapse import Exchanges, TimeLapse

T = TypeVar("T")
NEVER = 10_000_000.0
ALONE = {
    "fetch_job_polling_interval": NEVER,
    "abort_job_polling_interval": NEVER,
    "update_heartbeat_interval": NEVER,
}


@attrs.define
class Lapse:
    """An app on a loop whose waits take no time."""

    app: App
    exchanges: Exchanges
    monkeypatch: pytest.MonkeyPatch

    def run(self, story: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def told() -> T:
            loop = asyncio.get_running_loop()
            for module in (psycopg.connection_async, psycopg.waiting):
                self.monkeypatch.setattr(module, "monotonic", loop.time)
            async with self.app.open_async():
                return await story()

        with asyncio.Runner(loop_factory=lambda: TimeLapse(self.exchanges)) as runner:
            return runner.run(told())

    def said(self, function: str) -> int:
        return self.exchanges.statements.count(function)


@pytest.fixture
def lapse(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Lapse:
    exchanges = Exchanges()
    connector = PsycopgConnector(conninfo=dsn, min_size=1, **exchanges.pool_options)
    return Lapse(App(connector=connector), exchanges, monkeypatch)


def add_task(app: App, seconds: float = 0) -> Any:
    @app.task(name="t", queue="q")
    async def task() -> None:
        await asyncio.sleep(seconds)

    return task


async def test_a_worker_of_a_long_line_becomes_quiet_and_asks_again_before_it_sleeps(
    app: App,
    database: Database,
    conn: psycopg.Connection,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quiet, "FIRST_PATIENCE", 0.0)
    monkeypatch.setattr(quiet, "BUSY_WITHIN", NEVER)
    conn.execute(
        "create table said (quiet boolean); create function tell() returns trigger"
        " language plpgsql as 'begin insert into said values (new.quiet); return null; end';"
        " create trigger tell after update of quiet on procrastinate_workers for each row"
        " execute function tell()"
    )
    await add_task(app).batch_defer_async(*[{}] * 40)
    await start_worker(concurrency=1, **ALONE)
    await database.until("select 1 from said having count(*) = 2")
    assert conn.execute("select quiet from said").fetchall() == [(True,), (False,)]
    await database.until("select 1 from procrastinate_jobs having bool_and(status='succeeded')")
    # And it is woken, as nothing else makes it look:
    job_id = await app.configure_task("t", queue="q").defer_async()
    await database.until_status(job_id, "succeeded")


async def test_a_worker_without_a_free_slot_becomes_quiet_without_looking_for_jobs(
    app: App, conn: psycopg.Connection, database: Database, start_worker: StartWorker
) -> None:
    task = add_task(app, seconds=NEVER)
    await task.batch_defer_async({}, {})
    run = await start_worker(concurrency=1, shutdown_graceful_timeout=0, **ALONE)
    await run.until_it_runs()
    await database.until("select 1 from procrastinate_workers where quiet")
    assert conn.execute("select count(*) from procrastinate_doing").fetchone() == (1,)


async def test_a_worker_that_only_polls_is_quiet_from_the_start(
    database: Database, start_worker: StartWorker
) -> None:
    await start_worker(listen_notify=False)
    await database.until("select 1 from procrastinate_workers where quiet")


async def test_a_job_does_not_wait_until_its_worker_has_said_that_it_is_busy(
    app: App, database: Database, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    send: Any = app.connector.call_async

    async def call_async(call: Any, **options: Any) -> Any:
        if call.args.get("p_quiet") or "p_limit" in call.args:
            order.append(call.function.name)
        return await send(call, **options)

    intercept(app, monkeypatch, call_async)
    job_id = await add_task(app).defer_async()
    await start_worker(listen_notify=False)  # and so quiet, from the start
    await database.until_status(job_id, "succeeded")
    await database.until("select 1 from procrastinate_workers where quiet")

    assert order[:2] == ["procrastinate_finish_and_fetch_v1", "procrastinate_set_quiet_v1"]


async def test_a_worker_that_sleeps_hears_of_what_a_long_transaction_wrote_unseen(
    app: App,
    database: Database,
    conn: psycopg.Connection,
    connect: Callable[[], psycopg.Connection],
    start_worker: StartWorker,
) -> None:
    add_task(app)
    conn.execute("select procrastinate_register_worker_v2()")
    conn.execute("update procrastinate_workers set quiet = true")
    writer = connect()
    writer.execute("begin")
    # Written while all are quiet, and not told to anybody: the worker comes later.
    row = writer.execute("select procrastinate_defer_job('q', 't')").fetchone()
    run = await start_worker(**ALONE)
    async with asyncio.timeout(PATIENCE):
        while not run.worker.claims.quiet.is_waiting:  # noqa: ASYNC110 (it is not announced)
            await asyncio.sleep(0.002)
    writer.execute("commit")
    assert row is not None
    await database.until_status(row[0], "succeeded")
    assert not run.worker.claims.quiet.is_waiting


async def test_a_worker_whose_row_is_lost_looks_again_when_it_has_a_new_one(
    app: App, database: Database, conn: psycopg.Connection, start_worker: StartWorker
) -> None:
    add_task(app)
    conn.execute("select procrastinate_register_worker_v2('other', '{q}')")
    conn.execute("update procrastinate_workers set quiet = true")
    run = await start_worker(**ALONE)
    await database.until("select 1 from procrastinate_workers where not quiet")
    conn.execute("delete from procrastinate_workers where not quiet")
    job_id = await app.configure_task("t", queue="q").defer_async()  # nobody is told
    run.worker.heartbeat.beat_now()
    await database.until_status(job_id, "succeeded")


async def test_a_worker_that_lost_its_ear_says_again_that_it_is_to_be_told(
    database: Database, conn: psycopg.Connection, start_worker: StartWorker
) -> None:
    run = await start_worker(**ALONE)
    await database.until("select 1 from pg_stat_activity where query ilike 'listen%'")
    await database.until("select 1 from procrastinate_workers")
    # As another server may have it after a failover:
    conn.execute("update procrastinate_workers set quiet = true")
    conn.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen%'"
    )
    await database.until("select 1 from procrastinate_workers where not quiet")
    await run.stop()


def test_a_trickle_of_jobs_writes_nothing_about_the_worker(lapse: Lapse) -> None:
    task = add_task(lapse.app)

    async def story() -> None:
        worker = Worker(lapse.app, install_signal_handlers=False, concurrency=5)
        run = asyncio.create_task(worker.run())
        for _ in range(60):
            await task.defer_async()
            await asyncio.sleep(1)  # on this clock it takes no time
        worker.stop()
        await see_it_end(run)

    lapse.run(story)
    assert lapse.said("set_quiet_v1") == 0
    assert lapse.said("list_writers_v1") <= 2


def test_a_worker_that_is_quiet_in_vain_waits_longer_before_the_next_time(
    lapse: Lapse,
) -> None:
    async def story() -> list[float]:
        worker = Worker(lapse.app, install_signal_handlers=False, concurrency=5)
        run = asyncio.create_task(worker.run())
        await asyncio.sleep(1)
        loop, mind = asyncio.get_running_loop(), worker.claims.quiet
        became: list[float] = []

        async def send(call: Any, *, receive: Callable[[Any], None], **_: Any) -> bool:
            if call.args.get("p_quiet"):
                became.append(loop.time())
            receive(frozenset() if call.function.name.endswith("list_writers_v1") else None)
            return True

        for _ in range(600 * 30):  # ten minutes at 30 jobs a second: now it is busy, now not
            mind.took(1, 5)
            await mind.speak(send)
            for _ in range(4):
                mind.took(0, 5)
                await mind.may_rest(send)
            await asyncio.sleep(1 / 30)
        worker.stop()
        await see_it_end(run)
        return became

    became = lapse.run(story)
    assert 10 <= len(became) <= 25
    pauses = [after - before for before, after in itertools.pairwise(became)]
    assert pauses[0] < 1
    assert pauses[-1] > quiet.MOST_PATIENCE
