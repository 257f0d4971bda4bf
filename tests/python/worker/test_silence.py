"""Connections die without a word: what is sent on them is swallowed, and nothing comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from procrastinate import App, PsycopgConnector, exceptions, patience
from procrastinate import connector as connector_module
from procrastinate.connectors import psycopg_line
from procrastinate.rpc import front
from procrastinate.worker import Worker

from .alone import ALONE, Runs, until
from .conftest import PATIENCE, Cable, Database, Run, StartWorker, actions

if TYPE_CHECKING:
    from collections.abc import Awaitable

NEVER = 1000.0
SILENT = {**ALONE, "listen_notify": False}


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector_module, "LISTEN_TIMEOUT", 0.02)
    monkeypatch.setattr(connector_module, "LISTEN_PATIENCE", 0.2)
    monkeypatch.setattr(patience, "ANSWER_TIMEOUT", 0.2)
    monkeypatch.setattr(patience, "CANCEL_AGAIN", 0.02)


async def running(app: App, start_worker: StartWorker) -> tuple[Runs, int, Run]:
    """A worker that runs a job which ends when the gate is opened."""
    runs = Runs(app)
    job_id = await app.configure_task("slow").defer_async(n=1)
    run = await start_worker(app, **SILENT)
    await run.until_it_runs()
    return runs, job_id, run


@pytest.mark.usefixtures("short_patience")
async def test_a_listener_that_died_silently_is_replaced(
    far_app: App,
    cable: Cable,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
) -> None:
    ran = asyncio.Event()

    @far_app.task(name="t")
    async def task() -> None:
        ran.set()

    listens = """
        select pid from pg_stat_activity
        where (query ilike 'listen%%' or query = 'select 1') and pid <> %s
    """
    run = await start_worker(
        far_app,
        fetch_job_polling_interval=NEVER,
        abort_job_polling_interval=NEVER,
        update_heartbeat_interval=NEVER,
    )
    await database.until(listens, 0)
    (dead,) = database.conn.execute(listens.encode(), [0]).fetchone() or (0,)
    cable.hush()
    await database.until(listens, dead)
    # The server has not heard that the old one is gone; the new one hears for it.
    database.conn.execute("select procrastinate_defer_job('default', 't')")
    async with asyncio.timeout(PATIENCE):
        await ran.wait()
    await run.stop()
    assert "listener_lost" in actions(records)


@pytest.mark.usefixtures("short_patience")
async def test_a_connection_that_dies_while_it_begins_to_listen_is_replaced(
    far_app: App, cable: Cable, database: Database, start_worker: StartWorker
) -> None:
    cable.hush_at("listen")
    run = await start_worker(
        far_app,
        fetch_job_polling_interval=NEVER,
        abort_job_polling_interval=NEVER,
        update_heartbeat_interval=NEVER,
    )
    async with asyncio.timeout(PATIENCE):
        await cable.swallowed.wait()
    await database.until("select 1 from pg_stat_activity where query ilike 'listen%'")
    await run.stop()


@pytest.mark.usefixtures("short_patience")
async def test_a_call_that_is_never_answered_is_made_again_on_another_connection(
    far_app: App,
    cable: Cable,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
) -> None:
    runs, job_id, run = await running(far_app, start_worker)
    cable.hush()
    runs.gate.set()
    await database.until_status(job_id, "succeeded")
    await run.stop()

    assert (await database.job(job_id)).attempts == 1
    assert actions(records).count("database_unavailable") == 1


@pytest.fixture
def short_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silence is borne for ever, but doubted soon."""
    monkeypatch.setattr(patience, "ANSWER_TIMEOUT", NEVER)
    monkeypatch.setattr(patience, "CANCEL_AGAIN", 0.02)
    monkeypatch.setattr(patience, "DOUBT_AFTER", 0.01)


@pytest.mark.usefixtures("short_doubt")
async def test_a_lane_whose_connection_is_dead_asks_over_another_and_goes_on(
    far_app: App,
    cable: Cable,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
) -> None:
    runs, job_id, run = await running(far_app, start_worker)
    cable.hush()
    runs.gate.set()
    await database.until_status(job_id, "succeeded")
    await run.stop()

    assert (await database.job(job_id)).attempts == 1
    assert "the connection is dead: the server is not at work for it" in records.text


async def test_when_a_line_is_dead_the_pool_is_renewed(far_app: App, cable: Cable) -> None:
    def check_often(app: App) -> Awaitable[list[Any]]:
        return asyncio.gather(*(app.connector.call_async(front.check()) for _ in range(9)))

    there: Any = far_app.connector
    app = App(
        connector=PsycopgConnector(
            conninfo=there.pool.conninfo, min_size=3, max_size=3, timeout=PATIENCE
        )
    )
    async with app.open_async(), asyncio.timeout(2 * PATIENCE):
        await check_often(app)
        line = app.connector.line()
        await line.call_async(front.check())
        cable.hush()
        assert await line.is_lost()
        assert await check_often(app) == [[]] * 9
        await line.close()


@pytest.mark.usefixtures("short_doubt")
async def test_a_call_that_the_server_works_on_is_waited_for(
    app: App,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    doubts: list[bool] = []
    ask = psycopg_line.PsycopgLine.is_lost

    async def asked(line: psycopg_line.PsycopgLine) -> bool:
        doubts.append(await ask(line))
        return doubts[-1]

    monkeypatch.setattr(psycopg_line.PsycopgLine, "is_lost", asked)
    runs, job_id, run = await running(app, start_worker)
    waits = "select 1 from pg_stat_activity where wait_event_type = 'Lock'"
    with database.conn.transaction():
        database.conn.execute("select 1 from procrastinate_jobs for update")
        runs.gate.set()
        await database.until(waits)
        doubts.clear()
        await until(lambda: len(doubts) >= 2)
    await database.until_status(job_id, "succeeded")
    await run.stop()

    assert not any(doubts)
    assert "database_unavailable" not in actions(records)


@pytest.mark.usefixtures("short_doubt")
async def test_who_waits_for_a_job_is_told_though_the_connection_that_asks_is_dead(
    far_app: App, cable: Cable, app: App, database: Database
) -> None:
    job_id = await app.configure_task("t").defer_async()
    other_id = await app.configure_task("t").defer_async()
    first = asyncio.create_task(
        far_app.job_manager.wait_for_async([other_id], timeout=PATIENCE)
    )
    await database.until("select 1 from pg_stat_activity where query ilike '%get_results_v1%'")
    await app.job_manager.cancel_job_by_id_async(other_id)
    await first  # there is a connection that asks
    cable.hush()
    waits = asyncio.create_task(far_app.job_manager.wait_for_async([job_id], timeout=PATIENCE))
    await app.job_manager.cancel_job_by_id_async(job_id)
    (report,) = await waits
    assert report.status == "cancelled"


async def test_whether_an_answer_is_lost(app: App, conn: psycopg.Connection) -> None:
    line = app.connector.line()
    assert not await line.is_lost()  # nothing was connected
    await line.call_async(front.check())
    assert await line.is_lost()  # the server waits to hear something

    ours = "select pid from pg_stat_activity where pid = %s"
    socket: Any = getattr(line, "_socket")  # noqa: B009 (it is the line's own)
    process: int = socket.server_process
    conn.execute("select pg_terminate_backend(%s, 5000)", [process])
    assert conn.execute(ours, [process]).fetchone() is None
    assert await line.is_lost()  # its process is gone

    # whoever may not see what a process does knows nothing; the server's own show nothing
    (hidden,) = conn.execute(
        "select min(pid) from pg_stat_activity where state is null"
    ).fetchone() or (0,)
    socket.server_process = hidden
    assert not await line.is_lost()

    await line.close()


async def test_who_can_not_ask_waits_on(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "DOUBT_AFTER", 0.001)
    asked = asyncio.Event()
    refusals: list[BaseException] = [
        exceptions.DatabaseUnavailable(),
        exceptions.ConnectorException(),
        TimeoutError(),
    ]

    class Line(connector_module.Line):
        async def call_async(self, call: Any) -> Any:
            await asked.wait()
            return []

        async def is_lost(self) -> bool:
            if refusals:
                raise refusals.pop()
            asked.set()
            return False

    worker = Worker(app)
    async with asyncio.timeout(PATIENCE):
        assert await worker.outage.call(front.check(), line=Line(app.connector)) == []


async def test_only_one_asks_at_a_time(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "DOUBT_AFTER", 0.001)
    asking: list[int] = [0]
    most: list[int] = []

    class Line(connector_module.Line):
        async def call_async(self, call: Any) -> Any:
            await asyncio.Event().wait()

        async def is_lost(self) -> bool:
            asking[0] += 1
            most.append(asking[0])
            for _ in range(20):
                await asyncio.sleep(0)
            asking[0] -= 1
            return True

    worker = Worker(app)
    results = await asyncio.gather(
        *(worker.outage.call(front.check(), line=Line(app.connector)) for _ in range(3)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [exceptions.DatabaseUnavailable] * 3
    assert most == [1, 1, 1]


async def test_who_waits_too_long_is_cancelled_until_it_hears() -> None:
    heard: list[int] = []

    async def deaf() -> None:
        while len(heard) < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                heard.append(1)
        raise asyncio.CancelledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patience, "CANCEL_AGAIN", 0.001)
        with pytest.raises(TimeoutError, match=r"no answer within 0\.001 s"):
            await patience.within(0.001, deaf())
    task = asyncio.current_task()
    assert task is not None
    assert (len(heard), task.cancelling()) == (3, 0)


async def test_an_answer_in_time_is_returned_and_an_error_raised() -> None:
    async def answer() -> int:
        return 3

    async def error() -> int:
        raise ZeroDivisionError

    assert await patience.within(PATIENCE, answer()) == 3
    with pytest.raises(ZeroDivisionError):
        await patience.within(PATIENCE, error())


async def test_whoever_is_cancelled_by_another_stays_cancelled() -> None:
    waits = asyncio.Event()

    async def never() -> None:
        waits.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(patience.within(PATIENCE, never()))
    await waits.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_both_at_once_are_a_cancellation() -> None:
    async def never(task: list[asyncio.Task[Any]]) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            task[0].cancel()  # by another, just now
            raise

    own: list[asyncio.Task[Any]] = []
    own.append(asyncio.create_task(patience.within(0.001, never(own))))
    await asyncio.wait(own)
    assert own[0].cancelled()


async def test_a_call_without_an_answer_is_an_unavailable_database(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(app.connector, "call_async", never)
    worker = Worker(app)
    with pytest.raises(exceptions.DatabaseUnavailable) as caught:
        await worker.outage.call(front.check(), timeout=0.001)
    assert isinstance(caught.value.__cause__, TimeoutError)
