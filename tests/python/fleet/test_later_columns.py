"""A later migration gives the jobs a column: clients of 3.10 go on, in the midst of a fetch."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg

from tools import upstream

from .conftest import Fleet

NEXT = "alter table procrastinate_jobs add column procrastinate_next text not null default 'n'"
WAITS = """
select 1
from pg_stat_activity
where datname = current_database() and wait_event_type = 'Lock'
having count(*) = %s
"""


async def test_a_worker_and_a_bare_client_that_wait_in_a_fetch_outlive_a_new_column(
    fleet: Fleet,
) -> None:
    await fleet.old_worker(queues="both")
    ((worker_id,),) = fleet.rows("select id from procrastinate_workers")
    bare = fleet.stack.enter_context(psycopg.connect(fleet.dsn, autocommit=True))

    def fetch() -> list[tuple[Any, ...]]:
        # the statement that other programs have, prepared with its first execution
        whole = b"select * from procrastinate_fetch_job_v2(array['bare']::varchar[], %s)"
        return bare.execute(whole, [worker_id], prepare=True).fetchall()

    nothing = fetch()
    # a fetch that finds nothing to take reads no jobs, and waits for nobody
    for queue in ("both", "bare"):
        fleet.rows("select procrastinate_pause_queue(%s)", queue)
        for _ in range(2):
            await fleet.app.configure_task("work", queue=queue).defer_async()
    with psycopg.connect(fleet.dsn) as migration:
        migration.execute(NEXT.encode())
        fleet.rows("select procrastinate_resume_queue('bare')")
        fleet.rows("select procrastinate_resume_queue('both')")
        waiting = asyncio.create_task(asyncio.to_thread(fetch))
        await fleet.until(WAITS, 2)
    fetched = [*await waiting, *fetch()]

    assert [len(row) for row in fetched] == [len(nothing[0])] * 2
    for job_id, *_ in fetched:
        fleet.rows("select procrastinate_finish_job_v1(%s, 'succeeded', false)", job_id)
    await fleet.until(
        "select 1 from procrastinate_jobs where status = 'succeeded' having count(*) = 4"
    )
    ran = fleet.rows("select version from fleet_runs")
    assert ran == [(upstream.VERSION,)] * 2
