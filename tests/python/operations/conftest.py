"""What a recipe of the operations page needs: PostgreSQL's programs, schemas, a worker."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import attrs
import psycopg
import psycopg.conninfo
import pytest

from procrastinate import App, PsycopgConnector, migrations
from procrastinate.worker import Worker

if TYPE_CHECKING:
    from procrastinate.contrib.embedded import EmbeddedServer

REQUIRED = "PROCRASTINATE_REQUIRE_PG_DUMP"
PATIENCE = 20.0  # seconds after which a test that waits has failed

Program = Callable[..., str]


def within(dsn: str, schema: str) -> str:
    """The connection string of those who use one schema of a database."""
    return psycopg.conninfo.make_conninfo(dsn, options=f"-c search_path={schema}")


def install(dsn: str, *schemas: str) -> None:
    for schema in schemas:
        with psycopg.connect(within(dsn, schema), autocommit=True) as connection:
            connection.execute(f"create schema {schema}".encode())
            connection.execute(migrations.one_file_schema().encode())


def breaches(connection: psycopg.Connection[Any]) -> list[Any]:
    return connection.execute("select * from procrastinate_check()").fetchall()


def value(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


@pytest.fixture
def program(embedded_server: EmbeddedServer, dsn: str) -> Program:
    """Run one of PostgreSQL's programs, of a version that may talk to the server."""

    def version(name: str) -> int:
        done = subprocess.run(
            [str(embedded_server.bin_directory / name), "--version"],
            capture_output=True,
            text=True,
            check=True,
        )
        found = re.search(r"\) (\d+)", done.stdout)
        assert found is not None, done.stdout
        return int(found[1])

    def run(name: str, *arguments: str, script: str | None = None) -> str:
        done = subprocess.run(
            [str(embedded_server.bin_directory / name), *arguments],
            input=script or "",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    with psycopg.connect(dsn) as connection:
        newest = connection.info.server_version // 10_000
    if (mine := version("pg_dump")) < newest:
        missing = f"pg_dump {mine} cannot dump a server of version {newest}"
        if os.environ.get(REQUIRED):
            pytest.fail(f"{missing}, and {REQUIRED} is set", pytrace=False)
        pytest.skip(missing)
    return run


@pytest.fixture
def schemas(empty_dsn: str) -> Callable[[str], str]:
    """A database with two queues, red and blue; called with a name: how to connect there."""
    install(empty_dsn, "red", "blue")
    return lambda name: within(empty_dsn, name)


@attrs.define
class Run:
    """A worker that runs in the background of a test."""

    worker: Worker
    task: asyncio.Task[None]

    async def until(self, what: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not what():
                if self.task.done():
                    await self.task
                    raise AssertionError("the worker has ended")
                await asyncio.sleep(0.002)

    async def stop(self) -> None:
        self.worker.stop()
        await self.task


StartApp = Callable[[str], Any]


@pytest.fixture
async def start_app() -> AsyncIterator[StartApp]:
    """Open an app on a database; closed after the test."""
    opened: list[App] = []

    async def start(dsn: str) -> App:
        app = App(connector=PsycopgConnector(conninfo=dsn, min_size=1, max_size=4, timeout=10))
        await app.open_async()
        opened.append(app)
        return app

    yield start
    for app in opened:
        await app.close_async()


StartWorker = Callable[..., Run]


@pytest.fixture
async def start_worker() -> AsyncIterator[StartWorker]:
    """Begin a worker of an app; cancelled after the test."""
    runs: list[Run] = []

    def start(app: App, **options: Any) -> Run:
        worker = Worker(app, install_signal_handlers=False, **options)
        run = Run(worker=worker, task=asyncio.create_task(worker.run()))
        runs.append(run)
        return run

    yield start
    for run in runs:
        for _ in range(3):  # stop, insist, leave
            run.task.cancel()
            await asyncio.sleep(0)
    await asyncio.gather(*(run.task for run in runs), return_exceptions=True)
