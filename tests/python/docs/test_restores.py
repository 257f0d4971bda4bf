"""What docs/sql.md says of restores, roles and other people's triggers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from procrastinate.contrib.embedded import EmbeddedServer

Connect = Callable[..., psycopg.Connection]
Psql = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def dump(embedded_server: EmbeddedServer, dsn: str) -> Callable[..., str]:
    def run(*arguments: str) -> str:
        program = str(embedded_server.bin_directory / "pg_dump")
        done = subprocess.run(
            [program, *arguments, "-d", dsn], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def busy(conn: psycopg.Connection) -> psycopg.Connection:
    """A database with jobs in all conditions."""
    conn.execute(
        """
        select procrastinate_defer_job('q', 'runs', lock => 'l', queueing_lock => 'x');
        select procrastinate_defer_job('q', 'waits for it', lock => 'l');
        select procrastinate_register_worker_v2('w');
        select procrastinate_fetch_jobs_v1(1, '{q}', 5);
        select procrastinate_defer_job('q', 'later', scheduled_at => 'infinity');
        select procrastinate_defer_job('q', 'unwanted', queueing_lock => 'y');
        select procrastinate_cancel_job(4);
        """
    )
    return conn


def breaches(connection: psycopg.Connection) -> list[Any]:
    return connection.execute("select * from procrastinate_check()").fetchall()


def test_a_whole_dump_is_restored_as_it_was(
    busy: psycopg.Connection,
    dump: Callable[..., str],
    empty_dsn: str,
    psql: Psql,
    connect: Connect,
) -> None:
    assert psql(empty_dsn, script=dump()).returncode == 0

    restored = connect(empty_dsn)
    assert breaches(restored) == []
    count = "select status, count(*) from procrastinate_jobs group by status order by status"
    assert restored.execute(count).fetchall() == busy.execute(count).fetchall()


def test_data_without_triggers_is_put_right_by_repair(
    busy: psycopg.Connection, dump: Callable[..., str], dsn: str, psql: Psql
) -> None:
    jobs_only = dump("--data-only", "--disable-triggers", "--table=procrastinate_jobs")
    busy.execute("truncate procrastinate_jobs")

    assert psql(dsn, script=jobs_only).returncode == 0

    assert breaches(busy) != []
    busy.execute("select procrastinate_repair()")
    assert breaches(busy) == []


def test_copy_fires_the_triggers(conn: psycopg.Connection) -> None:
    with conn.cursor().copy(
        "copy procrastinate_jobs (queue_name, task_name) from stdin"
    ) as copy:
        copy.write("q\tcopied\n")

    assert breaches(conn) == []
    assert conn.execute("select count(*) from procrastinate_todo").fetchone() == (1,)


def test_do_nothing_does_not_help_with_a_queueing_lock(busy: psycopg.Connection) -> None:
    busy.execute("select procrastinate_defer_job('q', 't', queueing_lock => 'x')")
    with pytest.raises(psycopg.errors.UniqueViolation) as caught:
        busy.execute(
            "insert into procrastinate_jobs (queue_name, task_name, queueing_lock) "
            "values ('q', 't', 'x') on conflict do nothing"
        )
    assert caught.value.diag.constraint_name == "procrastinate_jobs_queueing_lock_idx_v1"


def test_a_users_trigger_sees_the_path_of_the_function_that_defers(
    conn: psycopg.Connection,
) -> None:
    conn.execute(
        """
        create table seen (path text);
        create function look() returns trigger language plpgsql as $$
        begin
            insert into public.seen values (current_setting('search_path'));
            return null;
        end;
        $$;
        create trigger look after insert on procrastinate_jobs
        for each row execute function look();
        set search_path = public, pg_catalog;
        select procrastinate_defer_job('q', 't');
        insert into procrastinate_jobs (queue_name, task_name) values ('q', 't');
        """
    )
    paths = [row[0] for row in conn.execute("select path from seen")]
    assert paths == ["public, pg_temp", "public, pg_catalog"]
