"""A server is recovered, from a base backup and archived WAL, to an earlier point in time."""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Generator
from typing import Any

import psycopg

from procrastinate import migrations
from procrastinate.contrib.embedded import EmbeddedServer

from .conftest import Program, breaches, value
from .test_backup import recipe

Connection = psycopg.Connection[Any]


@contextlib.contextmanager
def directory() -> Generator[pathlib.Path]:
    """A directory that a server of another account may write to: not one of pytest's."""
    with tempfile.TemporaryDirectory(prefix="recovery_") as name:
        path = pathlib.Path(name)
        path.chmod(0o777)
        yield path


def give_away(path: pathlib.Path, owner: os.stat_result) -> None:
    for entry in (path, *path.rglob("*")):
        os.chown(entry, owner.st_uid, owner.st_gid)


def test_jobs_are_as_sound_as_the_moment_that_is_recovered(program: Program) -> None:
    with contextlib.ExitStack() as stack:
        archive = stack.enter_context(directory())
        copy = stack.enter_context(directory())
        server = stack.enter_context(
            EmbeddedServer(
                durable=False,
                settings={
                    "full_page_writes": "on",
                    "archive_mode": "on",
                    "archive_command": f"cp %p {archive}/part && mv {archive}/part {archive}/%f",
                },
            )
        )
        shop = stack.enter_context(psycopg.connect(server.dsn(), autocommit=True))
        shop.execute(migrations.one_file_schema().encode())
        shop.execute("set search_path to default")
        shop.execute("select procrastinate_defer_job('q', 't', lock => 'l')")
        program("pg_basebackup", "-d", server.dsn(), "-D", str(copy / "data"), "-c", "fast")

        shop.execute("select procrastinate_defer_job('q', 't', lock => 'l')")
        shop.execute("select procrastinate_register_worker_v2('w')")
        shop.execute("select procrastinate_fetch_jobs_v1(1, null, 1)")
        before = shop.execute(
            "select id, status from procrastinate_jobs order by id"
        ).fetchall()
        shop.execute("select pg_create_restore_point('the moment')")
        # lost: an end, a job, and the claims of two
        shop.execute(
            "select procrastinate_finish_jobs_v1(1, '{1}', '{1}', '{succeeded}', '{}')"
        )
        shop.execute("select procrastinate_defer_job('q', 'lost')")
        shop.execute("select procrastinate_fetch_jobs_v1(1, null, 5)")
        claims = "select max(claim_id) from procrastinate_doing"
        lost_claim = value(shop, claims)
        segment = value(shop, "select pg_walfile_name(pg_switch_wal())")
        while not (archive / segment).exists():
            shop.execute("select pg_sleep(0.01)")

        with (copy / "data" / "postgresql.auto.conf").open("a") as settings:
            settings.write(
                f"restore_command = 'cp {archive}/%f %p'\n"
                "recovery_target_name = 'the moment'\n"
                "recovery_target_action = 'promote'\n"
            )
        (copy / "data" / "recovery.signal").touch()
        for left in (copy / "data").glob(".s.PGSQL.*"):  # of the original
            left.unlink()
        give_away(copy, (server.directory / "data").stat())
        recovered = stack.enter_context(EmbeddedServer(copy, durable=False))
        conn = stack.enter_context(psycopg.connect(recovered.dsn(), autocommit=True))
        while value(conn, "select pg_is_in_recovery()"):
            conn.execute("select pg_sleep(0.01)")

        after = conn.execute("select id, status from procrastinate_jobs order by id").fetchall()
        assert after == before == [(1, "doing"), (2, "todo")]
        assert breaches(conn) == []
        conn.execute(recipe("numbers").encode())
        conn.execute(recipe("stalled").encode())
        assert value(conn, "select procrastinate_defer_job('q', 'new')") > 1_000_000
        conn.execute("select procrastinate_register_worker_v2('w')")
        conn.execute(
            "select procrastinate_fetch_jobs_v1(max(id), null, 5) from procrastinate_workers"
        )
        assert value(conn, "select min(claim_id) from procrastinate_doing") > lost_claim
        assert value(conn, "select count(*) from procrastinate_doing") == 2
        assert breaches(conn) == []
