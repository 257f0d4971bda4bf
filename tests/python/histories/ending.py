"""
What must be true when a history is over, whatever happened in it.

First all that is due is run, by one worker that fetches until there is nothing: only what is
delayed, paused or behind a delayed head may be left. Then time goes to the end, all queues are
resumed, the dead workers' jobs recovered, and nothing at all may be left.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tests.python.histories import draw
from tests.python.races import audit, harness, scene, verbs

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[harness.Row]


def run(connection: Connection, text: str) -> list[harness.Row]:
    cursor = connection.execute(harness.query(text))
    return [] if cursor.description is None else cursor.fetchall()


def drain(connection: Connection, world: draw.World) -> int:
    """Fetch and finish until a fetch finds nothing and says that nothing else is in hand."""
    worker = int(run(connection, "select procrastinate_register_worker_v2() as id")[0]["id"])
    marks: list[int] | None = None
    count = 0
    for turn in itertools.count():
        run(connection, audit.REMEMBER)
        rows = run(connection, verbs.fetch(worker, 20, None, marks))
        exchange = harness.Exchange.of(rows)
        marks = exchange.marks
        for claim in exchange.claims:
            world.claim(claim)
        if exchange.claims:
            count += len(exchange.claims)
            for row in run(connection, verbs.finish(worker, exchange.claims)):
                assert row["outcome"] == "finished", row
        elif not exchange.more:
            assert not exchange.contended, "nobody else is there to hold a row"
            return count
        assert turn < 10_000, "the drain never ends"
    raise AssertionError("unreachable")


# a job that left doing and came back has several intervals; only those that a fetch began
# count, for a bare INSERT or UPDATE is audited before it waits for the lock's key
OVERLAPS = """
with versions as materialized (
    select a.job_id, a.new_lock as lock, a.seq as since,
        lead(a.seq) over (partition by a.job_id order by a.seq) as until,
        a.new_status as status,
        a.snapshot_before is not null and a.old_status = 'todo' as fetched
    from races_audit as a
)
select x.job_id, y.job_id as other, x.lock, x.since, x.until, y.since as other_since
from versions as x
inner join versions as y on y.lock = x.lock and y.job_id <> x.job_id
where x.status = 'doing' and y.status = 'doing' and x.fetched and y.fetched
    and x.since < y.since and (x.until is null or x.until > y.since)
"""


def breaches(connection: Connection, world: draw.World) -> list[str]:
    found = [f"check: {row['breach']}" for row in run(connection, verbs.CHECK)]
    found += audit.breaches(connection)
    found += [f"two jobs of a lock at once: {row}" for row in run(connection, OVERLAPS)]
    found += world.breaches()
    return found


def verdict(connection: Connection, world: draw.World) -> dict[str, int]:
    """Raises AssertionError unless all is well; returns what there was."""
    moment = world.now.isoformat()
    run(connection, verbs.set_clock(moment))
    assert not breaches(connection, world), breaches(connection, world)

    (swept,) = run(connection, verbs.SWEEP)
    assert swept["promoted"] == 0, f"the sweep found {swept} to heal"
    assert world.swept == 0, f"the sweeps on the way found {world.swept} to heal"

    drained = drain(connection, world)
    left = run(connection, scene.RUNNABLE)
    assert not left, f"stuck: {left}"
    assert not breaches(connection, world), breaches(connection, world)

    run(connection, verbs.set_clock(draw.END))
    for queue in draw.QUEUES:
        run(connection, verbs.resume(queue))
    run(connection, verbs.prune("1 second"))
    for _ in range(100):
        drained += drain(connection, world)
        # an abort that was asked for ends its job instead
        if not run(connection, verbs.recover("1 second")):
            break
    waiting = run(connection, "select * from procrastinate_todo")
    assert not waiting, f"never run: {waiting}"
    held = run(connection, "select * from procrastinate_doing")
    assert not held, f"never recovered: {held}"
    assert not breaches(connection, world), breaches(connection, world)
    (counts,) = run(
        connection,
        """
        select count(*) as changes, count(distinct job_id) as jobs,
            count(*) filter (where new_status = 'doing' and old_status = 'todo') as started
        from races_audit
        """,
    )
    return {**counts, "drained": drained}
