"""A fleet of 3.10 whose schema becomes ours under it, is joined by ours, and goes (I8)."""

from __future__ import annotations

import asyncio
import pathlib

import psycopg

import procrastinate
from procrastinate import adopting
from tools import upstream

from .conftest import fleet_on, hand_on
from .test_mixed import RAN, empty

OLD, NEW = upstream.VERSION, procrastinate.__version__
PAST = """
insert into procrastinate_jobs (queue_name, task_name, status)
select 'past', 'work', 'succeeded' from generate_series(1, 2000)
"""
RAN_BY = "select 1 from fleet_runs where version = %s having count(*) > 20"


async def test_no_job_is_lost_or_run_twice_from_the_old_fleet_to_the_new(
    old_python: pathlib.Path, empty_dsn: str, tmp_path: pathlib.Path
) -> None:
    upstream.apply_schema(empty_dsn)
    with (
        psycopg.connect(empty_dsn, autocommit=True) as conn,
        hand_on(empty_dsn, old_python, tmp_path) as hand,
    ):
        conn.execute(PAST)
        async with fleet_on(empty_dsn, conn, old_python, tmp_path) as fleet:
            manager = fleet.app.schema_manager

            def defer_some() -> None:
                hand.defer("work", *empty(8))
                for lock in ("a", "b"):
                    hand.defer("work", *empty(2), lock=lock, priority=1)

            hand.defer("work", *empty(400))
            # before
            process = await fleet.old_worker(poll=0.1)
            await fleet.until(RAN_BY, OLD)
            # during
            migration = asyncio.create_task(manager.migrate_async())
            while not migration.done():
                await asyncio.to_thread(defer_some)
            assert await migration == [adopting.NAME]
            assert await manager.check_async() == []
            # after
            (last,) = hand.defer("work", priority=9)
            await fleet.until_status(last, "succeeded")
            assert fleet.ran_at(last) == [OLD]
            await fleet.our_worker(fetch_job_polling_interval=0.1)
            await fleet.app.configure_task("work", queue="both").batch_defer_async(*empty(100))
            await asyncio.to_thread(defer_some)
            await fleet.until(RAN_BY, NEW)
            # and the old go
            fleet.stop_old(process)
            await asyncio.to_thread(defer_some)
            await fleet.until(
                "select 1 where not exists"
                " (select from procrastinate_jobs where status in ('todo', 'doing'))"
            )

            jobs = fleet.rows(
                "select id, status::text, attempts from procrastinate_jobs"
                " where queue_name = 'both' order by id"
            )
            assert len(jobs) > 500
            assert {(status, attempts) for _, status, attempts in jobs} == {("succeeded", 1)}
            ran = fleet.rows("select job_id from fleet_runs order by job_id")
            assert ran == [(job_id,) for job_id, *_ in jobs]
            histories = fleet.rows(
                "select distinct array_agg(e.type::text order by e.id)"
                " from procrastinate_events as e join procrastinate_jobs as j on j.id = e.job_id"
                " where j.queue_name = 'both' group by j.id"
            )
            assert histories == [(RAN,)]
