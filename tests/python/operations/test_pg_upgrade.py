"""A queue that pg_upgrade carries to a newer PostgreSQL: what docs/backup.md says of it."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

import psycopg
import pytest

from procrastinate import App, migrations
from procrastinate.contrib.embedded import EmbeddedServer, programs

from .conftest import StartApp, breaches, value

#: Two directories with all of PostgreSQL's programs, the older one first.
GIVEN = "PROCRASTINATE_UPGRADE_BINS"
ROWS = """
    select jsonb_agg(to_jsonb(x) order by x.id) from (
        select j.id, j.status, j.attempts, j.lock, j.args, array_agg(e.type order by e.id)
        from procrastinate_jobs as j
        inner join procrastinate_events as e on e.job_id = j.id
        group by j.id
    ) as x
"""


def installed() -> list[pathlib.Path]:
    """The directories of programs, by version: as given, or Debian's."""
    if GIVEN in os.environ:
        return [pathlib.Path(each) for each in os.environ[GIVEN].split(os.pathsep)]
    found = pathlib.Path("/usr/lib/postgresql").glob("*/bin/pg_upgrade")
    return sorted((each.parent for each in found), key=lambda each: int(each.parent.name))


@pytest.fixture
def directory() -> Iterator[pathlib.Path]:
    """Where the account that runs PostgreSQL may go, with a short path: sockets are in it."""
    account = programs.find_account()
    where = programs.temporary_directory(account, in_memory=False)
    path = pathlib.Path(tempfile.mkdtemp(prefix="pgup-", dir=where))
    if account:
        os.chown(path, account.uid, account.gid)
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def upgrade(old: pathlib.Path, new: pathlib.Path, directory: pathlib.Path) -> None:
    account = programs.find_account()
    done = subprocess.run(
        [
            *(new / "pg_upgrade", "--username=postgres", f"--socketdir={directory}"),
            *(f"--old-bindir={old}", f"--old-datadir={directory / 'old' / 'data'}"),
            *(f"--new-bindir={new}", f"--new-datadir={directory / 'new' / 'data'}"),
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_pg_upgrade_needs_nothing_of_the_queue(
    directory: pathlib.Path, start_app: StartApp
) -> None:
    bins = installed()
    if len(bins) < 2:
        pytest.skip(f"there are no two PostgreSQL with pg_upgrade (or {GIVEN}=OLD:NEW)")
    older = EmbeddedServer(directory / "old", bin_directory=bins[0])
    newer = EmbeddedServer(directory / "new", bin_directory=bins[-1])
    with older:
        with psycopg.connect(older.dsn(), autocommit=True) as conn:
            conn.execute(migrations.one_file_schema().encode())
        app: App = await start_app(older.dsn())

        @app.task(name="t", retry=1)
        def task(n: int) -> None:
            if n == 1:
                raise ValueError

        for n in range(4):
            await task.configure(lock=f"lock {n}").defer_async(n=n)
        await app.run_worker_async(wait=False, install_signal_handlers=False)
        waits = await task.configure(lock="l", schedule_in={"hours": 1}).defer_async(n=5)
        # whose worker the upgrade takes away
        taken = await task.configure(queue="left").defer_async(n=6)
        with psycopg.connect(older.dsn(), autocommit=True) as conn:
            own = value(conn, "select procrastinate_register_worker_v2()")
            conn.execute("select procrastinate_fetch_jobs_v1(%s, '{left}', 1)", [own])
            before = value(conn, ROWS)
        await app.close_async()
    with newer:
        pass  # made, and stopped
    upgrade(bins[0], bins[-1], directory)

    with newer:
        with psycopg.connect(newer.dsn(), autocommit=True) as conn:
            assert value(conn, ROWS) == before
            assert breaches(conn) == []
            conn.execute(
                "update procrastinate_jobs set scheduled_at = null where id = %s", [waits]
            )
            conn.execute("delete from procrastinate_workers")
        app = await start_app(newer.dsn())
        ran: list[int] = []

        @app.task(name="t")
        def run(n: int) -> None:
            ran.append(n)

        assert await run.defer_async(n=7) == taken + 1
        await app.run_worker_async(
            wait=False, install_signal_handlers=False, stalled_jobs="retry"
        )
        await app.close_async()
        assert ran == [5, 6, 7]
