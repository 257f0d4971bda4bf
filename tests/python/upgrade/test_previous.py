"""A worker and a deferrer of the version before this one, on the schema of this one."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

import procrastinate
from procrastinate import migrations
from procrastinate.types import JSONDict
from tools import previous

HERE = pathlib.Path(__file__).parent
#: Seconds after which a test that waits for the other version has failed.
PATIENCE = 60.0

Hand = Callable[..., subprocess.Popen[str]]

#: What its jobs come to: task, queue, status, attempts, and how many.
ENDED = {
    ("add", "default", "succeeded", 1): 1,
    ("fail", "default", "failed", 1): 1,
    ("plain", "default", "succeeded", 1): 106,
    ("plain", "nobody", "cancelled", 0): 1,
    ("stumble", "default", "succeeded", 2): 8,
}


@pytest.fixture(scope="session")
def interpreter() -> pathlib.Path:
    """The interpreter of an environment that holds the version before this one."""
    try:
        return previous.python()
    except previous.PreviousError as error:
        if os.environ.get(previous.REQUIRED):
            message = f"{previous.MISSING}, and {previous.REQUIRED} is set:\n{error}"
            pytest.fail(message, pytrace=False)
        pytest.skip(f"{previous.MISSING}: nothing here was tested")


@pytest.fixture
def hand(interpreter: pathlib.Path, dsn: str, tmp_path: pathlib.Path) -> Iterator[Hand]:
    """Start a program of that version."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PG", "PROCRASTINATE_", "VIRTUAL_ENV"))
    }
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [interpreter, HERE / "hand.py", *words],
            cwd=tmp_path,
            env={**inherited, "UPGRADE_DSN": dsn},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def done(process: subprocess.Popen[str]) -> str:
    """Wait until it has ended well; return what it said."""
    said, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    return said


def ended(conn: psycopg.Connection) -> dict[tuple[Any, ...], int]:
    rows = conn.execute(
        "select task_name, queue_name, status::text, attempts, count(*)"
        " from procrastinate_jobs where task_name <> 'yearly' group by 1, 2, 3, 4"
    )
    return {row[:4]: row[4] for row in rows}


def empty(count: int) -> list[JSONDict]:
    """The arguments of so many jobs that take none."""
    return [{} for _ in range(count)]


def faults(conn: psycopg.Connection) -> list[Any]:
    return conn.execute("select * from procrastinate_check()").fetchall()


def test_its_jobs_are_deferred_and_done_by_it_on_this_schema(
    hand: Hand, conn: psycopg.Connection
) -> None:
    done(hand("defer"))
    assert faults(conn) == []
    done(hand("work"))

    assert ended(conn) == ENDED
    assert conn.execute("select result from procrastinate_results").fetchall() == [(3,)]
    started = "select count(*) from procrastinate_events where type = 'started'"
    assert conn.execute(started).fetchall() == [(108 + 2 * 8,)]
    assert conn.execute("select * from procrastinate_workers").fetchall() == []
    assert faults(conn) == []


async def test_its_worker_works_beside_ours_on_the_jobs_of_both(
    hand: Hand, conn: psycopg.Connection, dsn: str
) -> None:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn))
    done(hand("defer"))

    @app.task(name="plain")
    async def plain() -> None:
        pass

    async with app.open_async():
        await plain.batch_defer_async(*empty(200))
        staying = hand("stay")
        await until(conn, "select 1 from procrastinate_workers where name = 'previous'")
        await plain.batch_defer_async(*empty(200))
        # of the other tasks ours would say that it does not know them
        await plain.configure(queue="ours").batch_defer_async(*empty(50))
        await app.run_worker_async(
            queues=["ours"], wait=False, listen_notify=False, install_signal_handlers=False
        )
        await until(
            conn,
            "select 1 where not exists"
            " (select from procrastinate_jobs where status in ('todo', 'doing'))",
        )
    staying.send_signal(signal.SIGTERM)
    done(staying)

    plain_ones = ENDED["plain", "default", "succeeded", 1]
    assert ended(conn) == {
        **ENDED,
        ("plain", "default", "succeeded", 1): plain_ones + 400,
        ("plain", "ours", "succeeded", 1): 50,
    }
    assert faults(conn) == []


async def until(conn: psycopg.Connection, query: str) -> None:
    """Wait until a query has a row."""
    async with asyncio.timeout(PATIENCE):
        while not conn.execute(query.encode()).fetchall():  # noqa: ASYNC110 (no event for it)
            await asyncio.sleep(0.01)


async def test_nothing_that_it_calls_is_removed_while_its_worker_lives(
    hand: Hand, conn: psycopg.Connection
) -> None:
    staying = hand("stay")
    await until(conn, "select 1 from procrastinate_workers")
    removal = migrations.compose(
        "04.01.00_50_post_remove",
        "drop function procrastinate_heartbeat_v1;",
        after=migrations.known()[0].name,
        removes=["heartbeat_v1"],
    )
    with pytest.raises(
        psycopg.Error, match=r"live workers: worker 1 \(previous, .*heartbeat_v1"
    ):
        conn.execute(removal.text.encode())
    conn.execute("reset search_path")

    staying.send_signal(signal.SIGTERM)
    done(staying)
    conn.execute(removal.text.encode())


def test_each_function_that_it_calls_takes_and_returns_what_it_did(
    hand: Hand, conn: psycopg.Connection
) -> None:
    called = json.loads(done(hand("signatures")))
    assert len(called) > 40
    for function in called:
        rows = conn.execute(
            "select p.proargnames, coalesce(p.proallargtypes, p.proargtypes::oid[])::regtype[]"
            "::text[], p.proargmodes::text[] from pg_proc as p where p.proname = %s",
            [function["name"]],
        ).fetchall()
        ((names, types, modes),) = rows
        modes = modes or ["i"] * len(types)
        inputs = {
            name: kind
            for name, kind, mode in zip(names or [], types, modes, strict=True)
            if mode in "iv"
        }
        assert function["arguments"].items() <= inputs.items(), function["name"]
        if "t" in modes:
            outputs = {name for name, mode in zip(names, modes, strict=True) if mode == "t"}
            assert set(function["columns"]) <= outputs, function["name"]
