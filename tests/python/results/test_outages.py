"""A database that goes away while jobs run and others wait for them; nobody hangs."""

from __future__ import annotations

import asyncio
import pathlib
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from procrastinate import App, PsycopgConnector, migrations
from procrastinate.contrib.embedded import EmbeddedServer, find_programs, programs

from .conftest import PATIENCE, Work, numbers

if TYPE_CHECKING:
    from procrastinate.types import JSONDict


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
        settings = {"synchronous_commit": "on"}  # what was committed survives
        with EmbeddedServer(path, durable=False, settings=settings) as server:
            with psycopg.connect(server.dsn(), autocommit=True) as connection:
                connection.execute(migrations.one_file_schema().encode())
            yield server


async def test_a_thousand_who_wait_outlast_a_restart_of_the_database(
    own_server: EmbeddedServer, work: Work
) -> None:
    app = App(connector=PsycopgConnector(conninfo=own_server.dsn(), timeout=1))
    released = asyncio.Event()
    count = 1000
    runs: list[int] = []

    @app.task(ttl=60)
    async def task(n: int) -> int:
        runs.append(n)
        await released.wait()
        return n

    woken: dict[int, float] = {}

    async def wait_for(job_id: int, n: int) -> None:
        assert await task.handle(job_id).result(timeout=2 * PATIENCE) == n
        woken[job_id] = time.time()

    async with app.open_async():
        ids = await task.batch_defer_async(*numbers(count))
        async with asyncio.TaskGroup() as group:
            for n, job_id in enumerate(ids):
                group.create_task(wait_for(job_id, n))
            await work(app, concurrency=50, update_heartbeat_interval=0.2)
            async with asyncio.timeout(PATIENCE):
                while len(runs) < 50:  # noqa: ASYNC110 (it is not announced)
                    await asyncio.sleep(0.005)
            await asyncio.to_thread(own_server.close)
            await asyncio.to_thread(own_server.start)
            released.set()
        with psycopg.connect(own_server.dsn()) as connection:
            rows = connection.execute(
                "select job_id, extract(epoch from at)::float8 from procrastinate_events"
                " where type = 'succeeded'"
            ).fetchall()
        await app.job_manager.close_waiters_async()
    assert sorted(runs) == list(range(count))
    assert len(rows) == count
    late = max(woken[job_id] - at for job_id, at in rows)
    assert late < 1.0


PROGRAM = """
import asyncio, sys
from procrastinate import App, PsycopgConnector

app = App(connector=PsycopgConnector(conninfo=sys.argv[1]))

@app.task(name="t", heartbeat=1)
async def task():
    print("begun", flush=True)
    await asyncio.Event().wait()

app.run_worker()
"""


@pytest.mark.parametrize(("options", "status"), [({"max_attempts": 2}, "todo"), ({}, "failed")])
async def test_a_job_of_a_worker_that_was_killed_ends_by_its_heartbeat(
    database_app: App, dsn: str, work: Work, options: Any, status: str
) -> None:
    app = database_app
    defer: JSONDict = {}
    job_id = await app.configure_task("t", ttl=60, heartbeat=1, **options).defer_async(**defer)
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, dsn, stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    assert await program.stdout.readline() == b"begun\n"
    program.send_signal(signal.SIGKILL)
    await program.wait()

    # Another worker looks after those who are silent for so long. It has no such task.
    await work(app, queues=["none"], stalled_worker_timeout=0.5, update_heartbeat_interval=0.1)

    async with asyncio.timeout(PATIENCE):
        while (  # noqa: ASYNC110 (the end of a run is not announced)
            report := await app.job_manager.get_report_async(job_id)
        ).status == "doing":
            await asyncio.sleep(0.02)
    assert report.status == status
    assert report.attempts == 1
    if status == "failed":
        assert report.error is not None
        assert report.error.cls == "procrastinate.exceptions.JobTimeout"
