"""
What an exchange touches does not depend on jobs that it is not about.

Counted in pages, which is the same on each machine: ten times as many jobs that are finished,
delayed, blocked, paused or of another queue, and the call reads as many pages as before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.python.plans.reader import pages
from tests.python.plans.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL, LARGE = 2_000, 20_000
BATCH = 10
EXCHANGE = (
    "procrastinate_finish_and_fetch_v1(%s::bigint, %s::text[], %s::integer, %s::bigint[],"
    " %s::bigint[], %s::bigint[], %s::procrastinate_job_status[], %s::boolean[])"
)


def paused(world: World, jobs: int) -> None:
    world.jobs(jobs, queue="paused")
    world.conn.execute("select procrastinate_pause_queue('paused')")


MASSES: dict[str, Callable[[World, int], None]] = {
    "finished": World.finished,
    "delayed": World.delayed,
    "blocked": World.blocked,
    "in another queue": World.foreign,
    "in a paused queue": paused,
}


def touched(world: World, queues: list[str] | None) -> int:
    """Pages of an exchange that ends and claims ten jobs; the least of some."""
    counts: list[int] = []
    world.jobs(BATCH * 8)
    held = world.claim(BATCH)
    for _ in range(6):
        before = {job for job, _ in held}
        jobs, claims = [job for job, _ in held], [claim for _, claim in held]
        succeeded, kept = ["succeeded"] * len(held), [False] * len(held)
        counts.append(
            pages(
                world.conn,
                EXCHANGE,
                (world.worker_id, queues, BATCH, None, jobs, claims, succeeded, kept),
            )
        )
        rows = world.conn.execute(
            b"select job_id, claim_id from procrastinate_doing"
            b" where worker_id = %s and lock is null",
            (world.worker_id,),
        ).fetchall()
        held = [(row[0], row[1]) for row in rows]
        assert len(held) == BATCH
        assert not before & {job for job, _ in held}
    world.conn.execute("delete from procrastinate_jobs where status = 'doing' and lock is null")
    world.conn.execute(
        "delete from procrastinate_jobs where status = 'todo' and queue_name = 'q'"
        " and lock is null and scheduled_at is null"
    )
    return min(counts)


@pytest.mark.parametrize("analysed", [False, True], ids=["as filled", "vacuumed and analysed"])
@pytest.mark.parametrize("mass", MASSES)
def test_an_exchange_touches_as_many_pages_beside_ten_times_as_many(
    dsn: str, mass: str, analysed: bool
) -> None:
    queues: list[str] | None = ["q", "paused"] if mass == "in a paused queue" else ["q"]
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("alter table procrastinate_jobs set (autovacuum_enabled = off)")
        world = World(conn)
        counts: list[int] = []
        for jobs in (SMALL, LARGE - SMALL):
            MASSES[mass](world, jobs)
            if analysed:
                conn.execute("vacuum analyze")
            counts.append(touched(world, queues))
    small, large = counts
    assert large <= small * 1.2 + 2 * BATCH, (
        f"{small} pages beside {SMALL}, {large} beside {LARGE}"
    )
