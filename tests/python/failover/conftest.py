"""A primary and its streaming standby, both real; the primary can be killed."""

from __future__ import annotations

import asyncio
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import attrs
import psycopg
import psycopg.conninfo
import pytest

from procrastinate import App, PsycopgConnector, migrations
from procrastinate.contrib.embedded import keeper, programs
from procrastinate.worker import Worker

if TYPE_CHECKING:
    from procrastinate.contrib.embedded import EmbeddedServer

REQUIRED = "PROCRASTINATE_REQUIRE_PG_BASEBACKUP"
PATIENCE = 60.0  # seconds after which a test that waits has failed
SETTINGS = {
    "fsync": "off",  # what is killed are processes: the kernel keeps what they have written
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "wal_receiver_timeout": "10s",
    "wal_retrieve_retry_interval": "100ms",
    "autovacuum": "off",
    # in the directory, and gone with it: who is killed does not tidy up
    "dynamic_shared_memory_type": "mmap",
}

Connection = psycopg.Connection[Any]


def value(connection: Connection, query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def descendants(process: int) -> list[int]:
    """The children of a process, as far as this system shows them."""
    found: list[int] = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == process:
            found.append(int(stat.parent.name))
    return found


@attrs.frozen
class Node:
    """One server."""

    plan: keeper.Plan

    @property
    def host(self) -> str:
        return keeper.socket_note(self.plan.home).read_text()

    @property
    def dsn(self) -> str:
        return psycopg.conninfo.make_conninfo(
            host=self.host, port=keeper.PORT, user="postgres", dbname="postgres"
        )

    def connect(self) -> Connection:
        return psycopg.connect(self.dsn, autocommit=True)

    def kill(self) -> None:
        """Nobody says goodbye, and nothing is written any more."""
        postmaster = keeper.process_of(self.plan)
        assert postmaster is not None
        os.kill(postmaster, signal.SIGSTOP)  # it would begin others
        for process in (postmaster, *descendants(postmaster)):
            os.kill(process, signal.SIGKILL)
        keeper.wait_for_end(postmaster)
        self._remove_memory()

    def _remove_memory(self) -> None:
        """Remove the few bytes that a server leaves in the kernel, and would find again."""
        lines = (self.plan.data / "postmaster.pid").read_text().splitlines()
        program = shutil.which("ipcrm")
        if program and len(lines) > 6 and len(numbers := lines[6].split()) == 2:
            subprocess.run([program, "-m", numbers[1]], capture_output=True, check=False)


@attrs.frozen
class Pair:
    """A primary, and the standby that follows it."""

    primary: Node
    standby: Node

    @property
    def dsn(self) -> str:
        """How clients connect: to whichever of the two can be written to."""
        return psycopg.conninfo.make_conninfo(
            host=f"{self.primary.host},{self.standby.host}",
            port=f"{keeper.PORT},{keeper.PORT}",
            user="postgres",
            dbname="postgres",
            target_session_attrs="read-write",
            connect_timeout=5,
        )

    def let_follow(self) -> None:
        """Wait until the standby shows all that has been committed."""
        with self.primary.connect() as primary, self.standby.connect() as standby:
            written = value(primary, "select pg_current_wal_lsn()::text")
            until = f"select pg_last_wal_replay_lsn() >= '{written}'"
            while not value(standby, until):
                standby.execute("select pg_sleep(0.002)")

    def wait_for_each_commit(self) -> None:
        """Replication is synchronous from now on."""
        with self.primary.connect() as primary:
            primary.execute("alter system set synchronous_standby_names = '*'")
            primary.execute("select pg_reload_conf()")
            synchronous = "select count(*) from pg_stat_replication where sync_state = 'sync'"
            while not value(primary, synchronous):
                primary.execute("select pg_sleep(0.002)")

    def cut(self) -> None:
        """The standby hears nothing of what is written from now on."""
        with self.primary.connect() as primary, self.standby.connect() as standby:
            standby.execute("alter system set primary_conninfo = ''")
            standby.execute("select pg_reload_conf()")
            while value(primary, "select count(*) from pg_stat_replication"):
                primary.execute("select pg_sleep(0.002)")

    def promote(self) -> None:
        plan = self.standby.plan
        keeper.must(keeper.run(plan, "pg_ctl", "promote", "--wait", f"--pgdata={plan.data}"))

    def fail_over(self) -> None:
        self.primary.kill()
        self.promote()


@pytest.fixture
def pair(embedded_server: EmbeddedServer) -> Iterator[Pair]:
    """A primary with the schema, and a standby that streams from it."""
    binaries = embedded_server.bin_directory
    if not (binaries / "pg_basebackup").exists():
        missing = f"{binaries} has no pg_basebackup"
        if os.environ.get(REQUIRED):
            pytest.fail(f"{missing}, and {REQUIRED} is set", pytrace=False)
        pytest.skip(missing)
    account = programs.find_account()
    where = programs.temporary_directory(
        account, in_memory=programs.may_live_in_memory(binaries, account)
    )
    with tempfile.TemporaryDirectory(prefix="failover_", dir=where) as name:
        home = pathlib.Path(name)
        home.chmod(0o755)
        runnable = str(programs.open_programs(binaries, account, home))

        def node(name: str) -> Node:
            directory = home / name
            directory.mkdir(mode=0o755)
            if account:
                os.chown(directory, account.uid, account.gid)
            return Node(
                keeper.Plan(
                    directory=str(directory),
                    programs=runnable,
                    account=account,
                    settings=SETTINGS,
                    throwaway=False,
                )
            )

        primary, standby = node("primary"), node("standby")
        try:
            keeper.start(primary.plan)
            with primary.connect() as connection:
                connection.execute(migrations.one_file_schema().encode())
            copy = standby.plan.data
            keeper.must(
                keeper.run(
                    primary.plan,
                    "pg_basebackup",
                    f"--dbname={primary.dsn}",
                    f"--pgdata={copy}",
                    "--checkpoint=fast",
                    "--write-recovery-conf",
                    "--no-sync",
                    "--no-manifest",
                )
            )
            for left in copy.glob(".s.PGSQL.*"):  # of the original
                left.unlink()
            keeper.start(standby.plan)
            pair = Pair(primary, standby)
            pair.let_follow()
            yield pair
        finally:
            for one in (standby, primary):
                keeper.run(
                    one.plan, "pg_ctl", "stop", "--mode=immediate", f"--pgdata={one.plan.data}"
                )
                keeper.remove_socket_directory(one.plan)


OpenApp = Callable[..., Any]


@pytest.fixture
async def open_app() -> AsyncIterator[OpenApp]:
    """Open an app on a database; closed after the test."""
    opened: list[App] = []

    async def start(dsn: str, **options: Any) -> App:
        given: dict[str, Any] = {"min_size": 1, "max_size": 6, "timeout": 10, **options}
        connector = PsycopgConnector(conninfo=dsn, **given)
        app = App(connector=connector)
        await app.open_async()
        opened.append(app)
        return app

    yield start
    for app in opened:
        await app.close_async()


async def until(condition: Callable[[], object], *watched: asyncio.Task[Any]) -> None:
    """Wait for something; fail if one of those who do it has ended."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            for task in watched:
                if task.done():
                    await task
                    raise AssertionError("it has ended")
            await asyncio.sleep(0.002)


@attrs.define
class Run:
    """A worker in the background."""

    worker: Worker
    task: asyncio.Task[None]

    async def stop(self) -> None:
        self.worker.stop()
        await self.task


StartWorker = Callable[..., Run]


@pytest.fixture
async def start_worker(open_app: OpenApp) -> AsyncIterator[StartWorker]:
    """Begin a worker of an app; cancelled after the test, and before its app is closed."""
    runs: list[Run] = []

    def start(app: App, **options: Any) -> Run:
        given: dict[str, Any] = {
            "install_signal_handlers": False,
            "update_heartbeat_interval": 0.2,
            "stalled_jobs": "retry",
            **options,
        }
        worker = Worker(app, **given)
        run = Run(worker=worker, task=asyncio.create_task(worker.run()))
        runs.append(run)
        return run

    yield start
    for run in runs:
        for _ in range(3):  # stop, insist, leave
            run.task.cancel()
            await asyncio.sleep(0)
    await asyncio.gather(*(run.task for run in runs), return_exceptions=True)
