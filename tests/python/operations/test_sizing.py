"""The figures of docs/sizing.md that can be counted: connections, and keys of locks."""

from __future__ import annotations

import asyncio
import pathlib
import re
from typing import Any

import psycopg
import psycopg.conninfo
import pytest

from procrastinate import App, PsycopgConnector

from .conftest import StartWorker, value

PAGE = (pathlib.Path(__file__).parents[3] / "docs" / "sizing.md").read_text()
NAME = "the worker that is counted"
#: Rows of the page's table.
ROW = re.compile(r"^\| (\d+) \| (\d+) \| (yes|no) \| (\d+) \|$", re.MULTILINE)
ROWS = [(int(row[1]), int(row[2]), row[3], int(row[4])) for row in ROW.finditer(PAGE)]


@pytest.mark.parametrize(("concurrency", "min_size", "listens", "most"), ROWS)
async def test_a_worker_opens_so_many_connections(
    dsn: str,
    conn: psycopg.Connection[Any],
    start_worker: StartWorker,
    concurrency: int,
    min_size: int,
    listens: str,
    most: int,
) -> None:
    where = psycopg.conninfo.make_conninfo(dsn, application_name=NAME)
    app = App(connector=PsycopgConnector(conninfo=where, min_size=min_size))
    barrier = asyncio.Barrier(concurrency)

    @app.task(name="t")
    async def task() -> None:
        await barrier.wait()  # all slots are taken at once

    async with app.open_async():
        arguments: list[dict[str, Any]] = [{}] * (concurrency * 5)
        await task.batch_defer_async(*arguments)
        run = start_worker(app, concurrency=concurrency, listen_notify=listens == "yes")
        highest = 0

        def done() -> bool:
            nonlocal highest
            highest = max(
                highest,
                value(
                    conn,
                    f"select count(*) from pg_stat_activity where application_name = '{NAME}'",
                ),
            )
            left = "select exists (select from procrastinate_jobs where status <> 'succeeded')"
            return not value(conn, left)

        await run.until(done)
        await run.stop()
    assert highest == most


def test_the_page_has_the_connections() -> None:
    assert len(ROWS) >= 3


def test_the_keys_of_many_locks_are_few(conn: psycopg.Connection[Any]) -> None:
    per_transaction = int(value(conn, "show max_locks_per_transaction"))
    held = (
        "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
    )
    insert = (
        "insert into procrastinate_jobs (queue_name, task_name, lock)"
        " select 'q', 't', n::text from generate_series(1, {}) as n"
    )
    finish = "update procrastinate_jobs set status = 'cancelled'"
    counts: list[int] = []
    for jobs in (per_transaction * 8, per_transaction * 8 + 1):
        conn.execute(insert.format(jobs).encode())
        with conn.transaction():
            conn.execute(finish.encode())
            counts.append(value(conn, held))
        conn.execute("truncate procrastinate_jobs cascade")
    assert counts == [per_transaction * 8 + 1, 2]


def test_who_may_maintain_may_vacuum(conn: psycopg.Connection[Any]) -> None:
    if conn.info.server_version < 170_000:
        pytest.skip("MAINTAIN came with PostgreSQL 17")
    told: list[str] = []
    conn.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
    conn.execute("create role vacuums; grant usage on schema public to vacuums")
    try:
        vacuum = "vacuum procrastinate_todo"
        conn.execute("set role vacuums")
        conn.execute(vacuum.encode())
        assert "permission denied" in told.pop()
        conn.execute("reset role")
        conn.execute("grant maintain on procrastinate_todo to vacuums")
        conn.execute("set role vacuums")
        conn.execute(vacuum.encode())
        assert told == []
    finally:
        conn.execute("reset role")
        conn.execute("drop owned by vacuums")
        conn.execute("drop role vacuums")
