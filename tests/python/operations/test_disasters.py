"""What docs/disasters.md says of workers: a disk that is full, a job that kills its process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from procrastinate import App, exceptions

from .conftest import StartApp, StartWorker, breaches, value

Connection = psycopg.Connection[Any]

#: Every write of history fails, as if there were no room for it.
FULL = """
create function full_disk() returns trigger language plpgsql as $$
begin
    raise exception 'could not extend file: No space left on device' using errcode = '53100';
end;
$$;
create trigger full_disk before insert on procrastinate_events
for each statement execute function full_disk();
"""
ROOM = "drop function full_disk cascade"


async def test_a_worker_keeps_its_ends_while_the_disk_is_full(
    dsn: str,
    conn: Connection,
    start_app: StartApp,
    start_worker: StartWorker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app: App = await start_app(dsn)
    ran: list[int] = []

    @app.task(name="t")
    async def task(n: int) -> None:
        conn.execute(FULL.encode())
        ran.append(n)

    job_id = await task.defer_async(n=1)
    run = start_worker(app)
    await run.until(lambda: ran)
    await run.until(lambda: "The database does not answer" in caplog.text)
    with pytest.raises(exceptions.DatabaseUnavailable):
        await task.defer_async(n=2)
    assert value(conn, f"select status from procrastinate_jobs where id = {job_id}") == "doing"
    conn.execute(ROOM.encode())
    ended = f"select status = 'succeeded' from procrastinate_jobs where id = {job_id}"
    await run.until(lambda: value(conn, ended))
    await run.stop()
    assert ran == [1]
    assert breaches(conn) == []


KILLER = """
import os, sys
import procrastinate

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=sys.argv[1]),
    worker_defaults={"stalled_jobs": "retry"},
)

@app.task(name="poison", retry=procrastinate.RetryStrategy(max_attempts=2))
async def poison():
    os._exit(9)

@app.task(name="good")
async def good(): pass

with app.open():
    app.run_worker(wait=False)
"""


def test_a_job_that_kills_its_workers_fails_where_stalled_jobs_are_retried(
    dsn: str, conn: Connection, connect: Callable[..., Connection]
) -> None:
    conn.execute("select procrastinate_defer_job('default', 'poison', priority => 1)")
    conn.execute("select procrastinate_defer_job('default', 'good')")
    codes: list[int] = []
    while not codes or codes[-1] == 9:
        done = subprocess.run([sys.executable, "-c", KILLER, dsn], check=False)
        codes.append(done.returncode)
        conn.execute(
            "update procrastinate_workers set last_heartbeat = now() - interval '1 hour'"
        )
        assert len(codes) < 10
    assert codes[-1] == 0
    status = "select array_agg(task_name || ' ' || status order by id) from procrastinate_jobs"
    assert value(conn, status) == ["poison failed", "good succeeded"]
    assert codes == [9, 9, 9, 0]  # max_attempts and the first
