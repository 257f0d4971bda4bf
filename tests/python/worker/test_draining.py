"""A worker that was told to stop, and whose jobs still run, goes on listening and living."""

from __future__ import annotations

import asyncio
import pathlib
import signal
import sys
import textwrap
import threading

import pytest

from procrastinate import App, JobContext, exceptions
from procrastinate.job_context import AbortReason

from .conftest import PATIENCE, Database, StartWorker
from .test_aborts import NEVER, WAYS


@pytest.mark.parametrize("way", WAYS)
async def test_a_sync_job_can_be_aborted_while_its_worker_waits_for_it(
    app: App, database: Database, start_worker: StartWorker, way: str
) -> None:
    pause = threading.Event()
    reasons: list[AbortReason | None] = []

    @app.task(name="t", pass_context=True)
    def task(context: JobContext) -> None:
        while not context.should_abort():
            pause.wait(0.005)
        reasons.append(context.abort_reason())
        raise exceptions.JobAborted

    job_id = await task.defer_async()
    run = await start_worker(**WAYS[way])
    await run.until_it_runs()
    if way == "notification":
        await database.until("select 1 from pg_stat_activity where query ilike 'listen%'")
    run.worker.stop()
    assert await app.job_manager.cancel_job_by_id_async(job_id, abort=True)
    await run.ended()
    assert await database.status(job_id) == "aborted"
    assert reasons == [AbortReason.USER_REQUEST]


async def test_a_worker_beats_while_it_waits_for_its_jobs(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    gate = asyncio.Event()

    @app.task(name="t")
    async def task() -> None:
        await gate.wait()

    await task.defer_async()
    run = await start_worker(update_heartbeat_interval=0.02, abort_job_polling_interval=NEVER)
    await run.until_it_runs()
    run.worker.stop()
    (stopped,) = database.conn.execute("select clock_timestamp()").fetchone() or (None,)
    await database.until(
        "select 1 from procrastinate_workers where last_heartbeat > %s", stopped
    )
    gate.set()
    await run.ended()


PROGRAM = """
import asyncio, logging, sys
import procrastinate

logging.basicConfig(level=logging.INFO)
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=sys.argv[1]))

@app.task(name="t")
async def task():
    await asyncio.Event().wait()

app.run_worker()
"""


@pytest.mark.parametrize(
    ("signum", "status", "workers"),
    [
        # The previous handler is Python's own: the process is gone at once.
        (signal.SIGTERM, "doing", 1),
        # KeyboardInterrupt, which cancels the worker once more.
        (signal.SIGINT, "aborted", 0),
    ],
)
async def test_a_second_signal_means_what_it_would_mean_without_a_worker(
    app: App,
    database: Database,
    dsn: str,
    tmp_path: pathlib.Path,
    signum: signal.Signals,
    status: str,
    workers: int,
) -> None:
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(PROGRAM))
    job_id = await app.configure_task("t").defer_async()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), dsn, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE):
        for words in (b"Starting job", b"Waiting for job to finish"):
            while words not in await process.stderr.readline():
                pass
            process.send_signal(signum)
        await process.stderr.read()
        assert await process.wait() == -signum
    assert await database.status(job_id) == status
    rows = database.conn.execute("select 1 from procrastinate_workers").fetchall()
    assert len(rows) == workers
