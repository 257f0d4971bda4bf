"""What happens to servers, connections and processes; no job is lost or run twice by it."""

from __future__ import annotations

import asyncio
import os
import pathlib
import random
import signal
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import psycopg.conninfo
import psycopg_pool.base
import pytest

from procrastinate import App, JobContext, PsycopgConnector, exceptions, migrations
from procrastinate.connectors import psycopg_lending
from procrastinate.contrib.embedded import EmbeddedServer, find_programs, programs
from procrastinate.rpc import front
from procrastinate.types import JSONDict

from .alone import ALONE, Runs, until
from .conftest import PATIENCE, Cable, Database, Drain, StartWorker, actions, run_to_its_end


def numbers(count: int, first: int = 0) -> list[JSONDict]:
    return [{"n": n} for n in range(first, first + count)]


ALL_ENDED = """
    select 1 from procrastinate_jobs
    having count(*) = %s and every(status = 'succeeded' and attempts = 1)
"""


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    """A server of the test's own, with the schema, that it may stop."""
    account = programs.find_account()
    where = programs.temporary_directory(
        account, in_memory=programs.may_live_in_memory(find_programs(), account)
    )
    with tempfile.TemporaryDirectory(prefix="procrastinate-test-", dir=where) as name:
        path = pathlib.Path(name)
        path.chmod(0o755)
        # What was committed is in the log, if not on the disk: it survives a crash.
        settings = {"synchronous_commit": "on"}
        with EmbeddedServer(path, durable=False, settings=settings) as server:
            with psycopg.connect(server.dsn(), autocommit=True) as connection:
                connection.execute(migrations.one_file_schema().encode())
            yield server


async def again(dsn: str) -> psycopg.Connection:
    """Connect to a server that may still be recovering."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return psycopg.connect(dsn, autocommit=True)
            except psycopg.OperationalError:
                await asyncio.sleep(0.01)  # it says nothing when it is ready


async def test_a_restart_and_a_crash_of_the_server_are_survived(
    own_server: EmbeddedServer, records: pytest.LogCaptureFixture, start_worker: StartWorker
) -> None:
    app = App(connector=PsycopgConnector(conninfo=own_server.dsn(), timeout=1))
    runs = Runs(app)
    async with app.open_async():
        await app.configure_task("slow").defer_async(n=0)
        run = await start_worker(app, concurrency=4, update_heartbeat_interval=0.1)
        await run.until_it_runs()

        await asyncio.to_thread(own_server.close)
        runs.gate.set()
        await until(lambda: not run.worker.running)
        await until(lambda: "database_unavailable" in actions(records))
        await asyncio.to_thread(own_server.start)
        with psycopg.connect(own_server.dsn(), autocommit=True) as connection:
            database = Database(app, connection)
            await database.until(ALL_ENDED, 1)
            await app.configure_task("quick").batch_defer_async(*numbers(20, 1))
            await database.until(ALL_ENDED, 21)
            runs.gate.clear()
            await app.configure_task("slow").defer_async(n=21)
            await run.until_it_runs()
            # A backend that is killed so takes all others down, and the server recovers.
            os.kill(connection.info.backend_pid, signal.SIGKILL)
        runs.gate.set()
        await until(lambda: not run.worker.running)
        with await again(own_server.dsn()) as connection:
            await Database(app, connection).until(ALL_ENDED, 22)
        assert await app.connector.call_async(front.check()) == []
        await run.stop()
    assert sorted(runs.ran) == list(range(22))


async def test_backends_killed_at_any_time_lose_no_job(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    chance, count = random.Random(11), 200
    runs = Runs(app)
    await app.configure_task("quick").batch_defer_async(*numbers(count))
    run = await start_worker(concurrency=3, **{**ALONE, "update_heartbeat_interval": 0.1})
    for _ in range(10):
        ended = len(runs.ran)
        await until(lambda ended=ended: len(runs.ran) >= min(ended + 10, count))
        for _ in range(chance.randrange(8)):
            await asyncio.sleep(0)  # at another point of the exchange each time
        database.conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
    await database.until(ALL_ENDED, count)
    await run.stop()
    assert sorted(runs.ran) == list(range(count))


async def test_a_pool_that_is_exhausted_is_waited_for(
    dsn: str,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
) -> None:
    connector = PsycopgConnector(conninfo=dsn, min_size=1, max_size=2, timeout=0.05)
    app = App(connector=connector)
    runs = Runs(app)
    async with app.open_async():
        await app.configure_task("slow").batch_defer_async(*numbers(2))
        run = await start_worker(
            app, concurrency=3, **{**ALONE, "update_heartbeat_interval": 0.05}
        )
        await run.until_it_runs(2)
        pool = connector.pool
        async with pool.connection(PATIENCE), pool.connection(PATIENCE):
            runs.gate.set()
            await until(lambda: "database_unavailable" in actions(records))
            await until(lambda: not run.worker.running)
        await database.until(ALL_ENDED, 2)
        await run.stop()


async def test_a_pool_that_has_given_up_is_asked_again_while_somebody_waits(
    dsn: str, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: Any = psycopg_pool.base.AttemptWithBackoff
    monkeypatch.setattr(attempts, "INITIAL_DELAY", 0.01)
    monkeypatch.setattr(psycopg_lending, "ASK_AGAIN", 0.05)
    given_up = asyncio.Event()

    def give_up(pool: Any) -> None:
        given_up.set()

    connector = PsycopgConnector(
        conninfo=psycopg.conninfo.make_conninfo(
            dsn, host="127.0.0.1", port=str(cable.port), sslmode="disable"
        ),
        min_size=1,
        max_size=1,
        timeout=PATIENCE,
        reconnect_timeout=0,
        reconnect_failed=give_up,
    )
    app = App(connector=connector)
    async with app.open_async():
        await cable.cut()
        waits = asyncio.create_task(app.check_connection_async())
        async with asyncio.timeout(PATIENCE):
            await given_up.wait()
            cable.mend()
            assert await waits


async def test_ten_megabytes_of_arguments_and_any_result_are_no_burden(
    app: App, database: Database, drain: Drain
) -> None:
    lengths: list[int] = []

    @app.task(name="t")
    async def task(text: str) -> object:
        lengths.append(len(text))
        return object()  # nothing that JSON could hold

    job_id = await task.defer_async(text="x" * 10_000_000)
    await drain()
    assert (await database.status(job_id), lengths) == ("succeeded", [10_000_000])


@pytest.mark.parametrize("colour", ["async", "sync"])
async def test_a_task_may_do_anything_to_jobs_of_its_worker_through_a_single_connection(
    dsn: str, database: Database, colour: str
) -> None:
    from procrastinate.worker import Worker

    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=1, max_size=1, timeout=5))
    manager, started, ran = app.job_manager, asyncio.Event(), list[str]()

    @app.task(name="victim")
    async def victim() -> None:
        started.set()
        await asyncio.Event().wait()

    @app.task(name="deferred", lock="l", queueing_lock="q")
    async def deferred() -> None:
        ran.append("deferred")

    if colour == "async":

        @app.task(name="t")
        async def _(running: int, waiting: int) -> None:
            await started.wait()
            await deferred.defer_async()
            with pytest.raises(exceptions.AlreadyEnqueued):
                await deferred.configure(schedule_in={"hours": 1}).defer_async()
            assert await manager.cancel_job_by_id_async(waiting)
            assert await manager.cancel_job_by_id_async(running, abort=True)
            ran.append("t")
    else:

        @app.task(name="t")
        def _(running: int, waiting: int) -> None:
            deferred.defer()
            with pytest.raises(exceptions.AlreadyEnqueued):
                deferred.configure(schedule_in={"hours": 1}).defer()
            assert manager.cancel_job_by_id(waiting)
            assert manager.cancel_job_by_id(running, abort=True)
            ran.append("t")

    async with app.open_async():
        running = await victim.defer_async()
        waiting = await app.configure_task("t", queue="elsewhere").defer_async()
        job_id = await app.configure_task("t", lock="l").defer_async(
            running=running, waiting=waiting
        )
        worker = Worker(
            app,
            queues=["default"],
            wait=False,
            concurrency=2,
            install_signal_handlers=False,
        )
        await run_to_its_end(worker)
    assert await database.status(job_id) == "succeeded"
    assert await database.status(running) == "aborted"
    assert await database.status(waiting) == "cancelled"
    assert ran == ["t", "deferred"]


PROGRAM = """
import asyncio, sys
import procrastinate, psycopg

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=sys.argv[1]))
notes = psycopg.connect(sys.argv[1], autocommit=True)

@app.task(name="async", pass_context=True)
async def _(context):
    notes.execute("insert into runs values (%s)", [context.job.id])
    await asyncio.sleep(0)

@app.task(name="sync", pass_context=True)
def _(context):
    notes.execute("insert into runs values (%s)", [context.job.id])

app.run_worker(concurrency=5)
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
async def test_a_signal_at_any_moment_loses_no_job_and_runs_none_uncounted(
    app: App,
    database: Database,
    dsn: str,
    tmp_path: pathlib.Path,
    drain: Drain,
    signum: signal.Signals,
) -> None:
    chance, count = random.Random(5), 2000
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(PROGRAM))
    database.conn.execute("create table runs (job_id bigint)")
    for name in ("async", "sync"):
        await app.configure_task(name, lock=None).batch_defer_async(
            *([JSONDict()] * (count // 2))
        )

    async def live_and_be_killed(turn: int) -> int:
        process = await asyncio.create_subprocess_exec(sys.executable, str(script), dsn)
        if turn:
            # The first ones are killed while they start, the others while they run.
            await database.until(
                "select 1 from procrastinate_jobs where status = 'succeeded' "
                "having count(*) >= %s",
                turn * count // 10,
            )
        # Whatever it does at that moment.
        await asyncio.wait(
            [asyncio.create_task(process.wait())], timeout=chance.uniform(0, 0.3)
        )
        process.send_signal(signum)
        async with asyncio.timeout(PATIENCE):
            return await process.wait()

    codes = await asyncio.gather(*(live_and_be_killed(turn) for turn in range(4)))
    assert 0 in codes if signum == signal.SIGTERM else set(codes) == {-signum}
    await database.check()

    @app.task(name="async", pass_context=True)
    async def _(context: JobContext) -> None:
        database.conn.execute("insert into runs values (%s)", [context.job.id])

    @app.task(name="sync", pass_context=True)
    async def _(context: JobContext) -> None:
        database.conn.execute("insert into runs values (%s)", [context.job.id])

    database.conn.execute(
        "update procrastinate_workers set last_heartbeat = now() - interval '1 minute'"
    )
    await drain(concurrency=40, stalled_jobs="retry")
    rows = database.conn.execute(
        "select id, status::text, attempts, (select count(*) from runs where job_id = id) "
        "from procrastinate_jobs"
    ).fetchall()
    assert Counter(status for _, status, _, _ in rows) == {"succeeded": count}
    if signum == signal.SIGTERM:
        assert {(attempts, runs) for _, _, attempts, runs in rows} == {(1, 1)}
    else:
        # A run that was killed may not have begun.
        assert all(1 <= runs <= attempts for _, _, attempts, runs in rows)
