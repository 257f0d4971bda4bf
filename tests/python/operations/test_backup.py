"""What docs/backup.md says: dumps of a live queue, restores, replicas, earlier points in time."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import re
from collections.abc import Callable, Generator
from typing import Any

import psycopg
import pytest

from procrastinate import App, migrations
from procrastinate.contrib.embedded import EmbeddedServer

from .conftest import Program, StartApp, StartWorker, breaches, value

PAGE = (pathlib.Path(__file__).parents[3] / "docs" / "backup.md").read_text()
BY_STATUS = "select array_agg(distinct status::text) from procrastinate_jobs"

Connection = psycopg.Connection[Any]
Connect = Callable[..., Connection]


def recipe(name: str) -> str:
    """A block of SQL of the page."""
    found = re.search(rf"^ *```sql {name}\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return found[1]


def command(name: str, **places: str) -> list[str]:
    """A command of the page, with the databases of a test."""
    found = re.search(rf"^```sh {name}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    words = found[1].replace("\\\n", " ").split()
    for mark, place in places.items():
        words = [word.replace(mark, place) for word in words]
    return words


@pytest.mark.parametrize("format_", ["plain", "directory"])
async def test_a_live_queue_is_dumped_and_goes_on_elsewhere(
    dsn: str,
    empty_dsn: str,
    conn: Connection,
    connect: Connect,
    program: Program,
    start_app: StartApp,
    start_worker: StartWorker,
    tmp_path: pathlib.Path,
    format_: str,
) -> None:
    """Jobs are deferred, run, retried and locked while the dump is made."""
    app: App = await start_app(dsn)

    def add_task(app: App, *, fails: bool) -> Any:
        @app.task(name="t", retry=3, pass_context=True)
        async def task(context: Any, n: int) -> None:
            await asyncio.sleep(0)
            if fails and n % 7 == 0 and not context.job.attempts:
                raise ValueError(n)

        return task

    task = add_task(app, fails=True)
    dumped = asyncio.Event()

    async def produce() -> None:
        n = 0
        while not dumped.is_set():
            n += 1
            await task.configure(lock=str(n % 10) if n % 2 else None).defer_async(n=n)

    producer = asyncio.create_task(produce())
    run = start_worker(app, concurrency=20)
    conn.execute("select procrastinate_defer_job('nobody', 't', args => '{\"n\": 1}')")
    conn.execute("select procrastinate_register_worker_v2('dies', '{nobody}')")
    conn.execute(
        "select procrastinate_fetch_jobs_v1(max(id), '{nobody}', 1) from procrastinate_workers"
    )
    await run.until(lambda: value(conn, "select count(*) > 100 from procrastinate_jobs"))
    dump = str(tmp_path / "dump")
    await asyncio.to_thread(program, *command(f"dump {format_}", shop=dsn, DUMP=dump))
    dumped.set()
    await producer
    await run.stop()

    program(*command(f"restore {format_}", elsewhere=empty_dsn, DUMP=dump))

    restored = connect(empty_dsn)
    assert breaches(restored) == []
    last = value(restored, "select max(id) from procrastinate_jobs")
    assert (
        value(restored, "select procrastinate_defer_job('q', 't', args => '{\"n\": 1}')") > last
    )
    restored.execute("update procrastinate_workers set last_heartbeat = now() - interval '1 h'")
    running = value(restored, "select count(*) from procrastinate_doing")
    assert running >= 1
    restored.execute(recipe("stalled").encode())
    assert value(restored, "select count(*) from procrastinate_doing") == 0
    elsewhere: App = await start_app(empty_dsn)
    add_task(elsewhere, fails=False)
    await start_worker(elsewhere, concurrency=20, wait=False).task
    restored.execute("update procrastinate_jobs set scheduled_at = null where status = 'todo'")
    await start_worker(elsewhere, concurrency=20, wait=False).task
    assert value(restored, BY_STATUS) == ["succeeded"]
    assert breaches(restored) == []


@pytest.fixture
def busy(conn: Connection) -> Connection:
    """Jobs in all conditions."""
    conn.execute(
        """
        select procrastinate_defer_job('q', 'runs', lock => 'l', queueing_lock => 'x');
        select procrastinate_defer_job('q', 'waits for it', lock => 'l');
        select procrastinate_register_worker_v2('w');
        select procrastinate_fetch_jobs_v1(1, '{q}', 5);
        select procrastinate_defer_job('q', 'later', scheduled_at => 'infinity');
        select procrastinate_defer_job('q', 'unwanted', queueing_lock => 'y');
        select procrastinate_cancel_job(4);
        select procrastinate_pause_queue('other', 'why');
        """
    )
    return conn


def test_data_goes_into_a_schema_that_is_there(
    busy: Connection,
    dsn: str,
    empty_dsn: str,
    connect: Connect,
    program: Program,
    tmp_path: pathlib.Path,
) -> None:
    dump = str(tmp_path / "dump")
    program(*command("dump data", shop=dsn, DUMP=dump))
    into = connect(empty_dsn)
    into.execute(migrations.one_file_schema().encode())
    into.execute("set search_path to default")
    program(*command("restore data", elsewhere=empty_dsn, DUMP=dump))

    into.execute(recipe("repair").encode())
    into.execute(recipe("numbers").encode())
    assert breaches(into) == []
    same = "select array_agg((id, status, task_name)::text order by id) from procrastinate_jobs"
    assert value(into, same) == value(busy, same)
    assert value(into, "select procrastinate_defer_job('q', 't')") > 4


def test_numbers_that_the_future_has_given_are_not_given_again(
    busy: Connection, dsn: str, empty_dsn: str, connect: Connect, program: Program
) -> None:
    """A worker that has outlived a restore to an earlier time reports a claim of the future."""
    earlier = program("pg_dump", "-d", dsn)
    busy.execute("select procrastinate_defer_job('q', 'future')")
    busy.execute("select procrastinate_fetch_jobs_v1(1, '{q}', 5)")
    claim = "select job_id, claim_id from procrastinate_doing order by claim_id desc limit 1"
    future = busy.execute(claim.encode()).fetchone()
    report = "select outcome from procrastinate_finish_jobs_v1(1, %s, %s, '{succeeded}', '{}')"

    program("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", empty_dsn, script=earlier)
    restored = connect(empty_dsn)

    def another_job() -> None:
        restored.execute("select procrastinate_defer_job('q', 'another')")
        restored.execute("select procrastinate_fetch_jobs_v1(1, '{q}', 5)")

    with restored.transaction(force_rollback=True):  # what happens without the recipe
        another_job()
        assert restored.execute(claim.encode()).fetchone() == future
    assert future is not None
    restored.execute(recipe("numbers").encode())
    another_job()
    arguments = [[future[0]], [future[1]]]
    assert restored.execute(report.encode(), arguments).fetchone() == ("not_held",)
    assert breaches(restored) == []


@contextlib.contextmanager
def logical_server() -> Generator[EmbeddedServer]:
    settings = {"wal_level": "logical", "max_logical_replication_workers": "4"}
    with EmbeddedServer(durable=False, settings=settings) as server:
        yield server


def test_a_logical_replica_is_promoted() -> None:
    with logical_server() as server, contextlib.ExitStack() as stack:

        def open_one(database: str) -> Connection:
            return stack.enter_context(psycopg.connect(server.dsn(database), autocommit=True))

        maintenance = open_one("postgres")
        for name in ("shop", "replica"):
            maintenance.execute(f"create database {name}".encode())
            open_one(name).execute(migrations.one_file_schema().encode())
        shop, replica = open_one("shop"), open_one("replica")
        shop.execute(recipe("publish").encode())
        # one server can't make a slot for itself within the statement: the page's lets it
        shop.execute("select pg_create_logical_replication_slot('queue', 'pgoutput')")
        subscribe = recipe("subscribe").replace("'…'", f"'{server.dsn('shop')}'")
        assert "with (" not in subscribe
        subscribe = (
            subscribe.rstrip().rstrip(";") + " with (create_slot = false, slot_name = queue)"
        )
        replica.execute(subscribe.encode())
        shop.execute(
            "select procrastinate_defer_job('q', 't', lock => 'l') from generate_series(1, 3)"
        )
        shop.execute("select procrastinate_register_worker_v2('w')")
        shop.execute("select procrastinate_fetch_jobs_v1(1, null, 5)")
        caught_up = (
            "select count(*) = 3 and count(*) filter (where status = 'doing') = 1"
            " from procrastinate_jobs"
        )
        while not value(replica, caught_up):
            pass
        replica.execute("alter subscription queue disable")
        replica.execute("alter subscription queue set (slot_name = none)")
        replica.execute(recipe("numbers").encode())
        replica.execute(recipe("repair").encode())
        while value(shop, "select active from pg_replication_slots where slot_name = 'queue'"):
            pass  # who sends has not seen yet that nobody listens
        shop.execute("select pg_drop_replication_slot('queue')")
        assert breaches(replica) == []
        assert value(replica, "select procrastinate_defer_job('q', 't')") > 3
        replica.execute(recipe("stalled").encode())
        assert value(replica, "select count(*) from procrastinate_todo") == 4
        assert breaches(replica) == []
