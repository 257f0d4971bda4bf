"""procrastinate 3.10 from its published package, in processes of its own, beside ours."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Sequence
from typing import Any

import attrs
import psycopg
import pytest

from procrastinate import App
from procrastinate.worker import Worker
from tools import upstream

from . import tasks

HERE = pathlib.Path(__file__).parent
#: Seconds after which a test that waits for either side has failed.
PATIENCE = 30.0
#: A poll that no test lives to see: what happens sooner was announced.
NEVER = 1000.0


@pytest.fixture(scope="session")
def old_python() -> pathlib.Path:
    """The interpreter of an environment that holds 3.10."""
    try:
        return upstream.python()
    except upstream.UpstreamError as error:
        if os.environ.get(upstream.REQUIRED):
            message = f"{upstream.MISSING}, and {upstream.REQUIRED} is set:\n{error}"
            pytest.fail(message, pytrace=False)
        pytest.skip(f"{upstream.MISSING}: nothing here was tested")


def environment(dsn: str, *, periodic: bool = False) -> dict[str, str]:
    """The variables of a process of 3.10's: our checkout is not on its path."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PG", "PROCRASTINATE_", "VIRTUAL_ENV"))
    }
    more = {"FLEET_PERIODIC": "1"} if periodic else {}
    return {**inherited, "PYTHONPATH": str(HERE), "FLEET_DSN": dsn, **more}


@attrs.frozen
class OldHand:
    """A client of 3.10."""

    process: subprocess.Popen[str]

    def hear(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def say(self, *words: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        return self.hear()

    def manager(self, verb: str, **arguments: Any) -> Any:
        """Call a method of its job manager."""
        return self.say("manager", verb, arguments)["answer"]

    def list(self, verb: str, **arguments: Any) -> Any:
        """Call an async method of its job manager that returns several."""
        return self.say("list_async", verb, arguments)["answer"]

    def defer(
        self, task: str, *jobs: dict[str, Any], kind: str = "defer", **options: Any
    ) -> Sequence[int]:
        """Defer jobs, of the queue that the fleet works on."""
        options = {"queue": "both", **options}
        answer = self.say(kind, task, options, [*jobs] or [{}])
        return [*answer["answer"]]


@contextlib.contextmanager
def hand_on(dsn: str, old_python: pathlib.Path, tmp_path: pathlib.Path) -> Generator[OldHand]:
    """A client of 3.10 on a database."""
    with subprocess.Popen(
        [old_python, HERE / "old_hand.py", dsn],
        cwd=tmp_path,
        env=environment(dsn),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        hand = OldHand(process)
        assert hand.hear() == upstream.VERSION
        yield hand
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def old_hand(old_python: pathlib.Path, dsn: str, tmp_path: pathlib.Path) -> Iterator[OldHand]:
    """A client of 3.10 on the database of this test."""
    with hand_on(dsn, old_python, tmp_path) as hand:
        yield hand


@attrs.define
class Fleet:
    """A database, and the workers of both sides on it."""

    dsn: str
    conn: psycopg.Connection
    old_python: pathlib.Path
    directory: pathlib.Path
    stack: contextlib.AsyncExitStack
    app: App

    def rows(self, query: str, *args: Any) -> list[tuple[Any, ...]]:
        """What a query answers."""
        return self.conn.execute(query.encode(), args or None).fetchall()

    async def until(self, query: str, *args: Any) -> None:
        """Wait until a query has a row."""
        async with asyncio.timeout(PATIENCE):
            while not self.rows(query, *args):  # noqa: ASYNC110 (the server has no event for it)
                await asyncio.sleep(0.01)

    async def until_status(self, job_id: int, status: str) -> None:
        """Wait until a job has a status."""
        found = "select 1 from procrastinate_jobs where id = %s and status::text = %s"
        await self.until(found, job_id, status)

    def events(self, job_id: int) -> list[str]:
        """The events of a job, as 3.10 reads them."""
        found = "select type::text from procrastinate_events where job_id = %s order by id"
        return [event for (event,) in self.rows(found, job_id)]

    def ran_at(self, job_id: int) -> list[str]:
        """The versions that ran a job, by attempt."""
        found = "select version from fleet_runs where job_id = %s order by attempt"
        return [version for (version,) in self.rows(found, job_id)]

    async def old_worker(
        self, *, poll: float = NEVER, periodic: bool = False, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start 3.10's worker, by its own command line; it listens when this returns."""
        return await self.worker_process(self.old_python, poll, periodic=periodic, **options)

    async def our_worker_process(self, **options: Any) -> subprocess.Popen[bytes]:
        """Start ours in a process of its own, which can be killed."""
        return await self.worker_process(sys.executable, NEVER, **options)

    async def worker_process(
        self, python: Any, poll: float, *, periodic: bool = False, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start the worker of a version, by the command line that both have."""
        command: list[Any] = [python, "-m", "procrastinate", "--app=tasks.app"]
        words = {"concurrency": 4, "fetch_job_polling_interval": poll, **options}
        words["abort_job_polling_interval"] = poll
        flags = [f"--{key.replace('_', '-')}={value}" for key, value in words.items()]
        log = self.stack.enter_context((self.directory / "old.log").open("ab"))
        ((before, at),) = self.rows(
            "select coalesce(max(id), 0), clock_timestamp() from procrastinate_workers"
        )
        process = subprocess.Popen(  # noqa: ASYNC220 (it only starts it)
            [*command, "worker", *flags],
            cwd=self.directory,
            env=environment(self.dsn, periodic=periodic),
            stdout=log,
            stderr=log,
        )
        self.stack.callback(self.stop_old, process)
        await self.until("select 1 from procrastinate_workers where id > %s", before)
        await self.until(
            # at rest: a LISTEN under way may yet miss what is told now
            "select 1 from pg_stat_activity where query ilike 'listen%%' and state = 'idle'"
            " and datname = current_database() and backend_start > %s",
            at,
        )
        return process

    def stop_old(self, process: subprocess.Popen[bytes]) -> None:
        """Stop 3.10's worker as an operator does; it must end in good order."""
        if process.poll() is None:
            process.terminate()
            status = process.wait(PATIENCE)
            assert status == 0, (self.directory / "old.log").read_text()

    async def our_worker(self, *, periodic: bool = False, **options: Any) -> Worker:
        """Start ours, in this process."""
        app = tasks.make_app(self.dsn, periodic=periodic)
        await self.stack.enter_async_context(app.open_async())
        waits = {"fetch_job_polling_interval": NEVER, "abort_job_polling_interval": NEVER}
        words: dict[str, Any] = {"concurrency": 4, **waits, **options}
        worker = Worker(app, install_signal_handlers=False, **words)
        task = asyncio.create_task(worker.run())
        self.stack.push_async_callback(self.stop_ours, worker, task)
        return worker

    async def stop_ours(self, worker: Worker, task: asyncio.Task[None]) -> None:
        """Stop ours, and see it end."""
        worker.stop()
        await asyncio.wait_for(task, PATIENCE)


@contextlib.asynccontextmanager
async def fleet_on(
    dsn: str, conn: psycopg.Connection, old_python: pathlib.Path, tmp_path: pathlib.Path
) -> AsyncGenerator[Fleet]:
    """Workers of both sides; when they have stopped, the database must be sound."""
    conn.execute(tasks.TABLE)
    app = tasks.make_app(dsn, periodic=False)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(app.open_async())
        yield Fleet(dsn, conn, old_python, tmp_path, stack, app)
    assert conn.execute("select * from procrastinate_check()").fetchall() == []
    assert conn.execute("select id from procrastinate_workers").fetchall() == []


@pytest.fixture
async def fleet(
    old_python: pathlib.Path, dsn: str, conn: psycopg.Connection, tmp_path: pathlib.Path
) -> AsyncIterator[Fleet]:
    """Workers of both sides, on the database of this test."""
    async with fleet_on(dsn, conn, old_python, tmp_path) as both:
        yield both
