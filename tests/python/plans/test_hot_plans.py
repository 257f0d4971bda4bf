"""
Each hot call, in tables that are empty, full, or known to the planner as something else.

Read are the plans of all statements that the call runs, in functions and in triggers, as they
were executed. With a mass of jobs in every way of waiting and of having ended, no statement may
scan a queue table from end to end, nor read more rows than the call is about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import psycopg
import pytest

from tests.python.plans.reader import PlanReader
from tests.python.plans.world import FAR_OFF, World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.python.plans.reader import Scan

MASS = 3_000  # jobs of each kind: enough to tell a scan of them from one of the wanted
BATCH = 10
READ = 200  # rows that one scan may read: some for each job of the batch, and dead ends


DOING = frozenset({"procrastinate_doing"})


@attrs.frozen(kw_only=True)
class Call:
    """A call as a client makes it; ``prepare`` makes its jobs and returns its arguments."""

    name: str
    sql: bytes
    prepare: Callable[[World], Sequence[object]]
    # doing has a row for each job that runs, no more, and no index on worker_id, which tempts
    # the planner: what a worker asks every few seconds reads it whole
    reads_whole: frozenset[str] = frozenset()
    reads: int = READ

    def faults(self, scans: Sequence[Scan]) -> list[str]:
        return [
            f"{self.name}: {scan}"
            for scan in scans
            if (scan.node == "Seq Scan" or scan.rows > self.reads)
            and scan.table not in self.reads_whole
        ]


def held(world: World, lock: str | None = None) -> tuple[list[int], list[int]]:
    pairs = world.hold(BATCH, lock=lock)
    return [job for job, _ in pairs], [claim for _, claim in pairs]


def ready(lock: str | None = None, *, own: bool = True) -> Callable[[World], Sequence[object]]:
    def prepare(world: World) -> Sequence[object]:
        world.jobs(BATCH, lock=lock, own_locks=own)
        return (world.worker_id,)

    return prepare


def finish(world: World, lock: str | None = None) -> Sequence[object]:
    jobs, claims = held(world, lock)
    return (world.worker_id, jobs, claims, ["succeeded"] * BATCH, [False] * BATCH)


def exchange(world: World) -> Sequence[object]:
    world.jobs(BATCH)
    jobs, claims = held(world)
    return (world.worker_id, jobs, claims, ["succeeded"] * BATCH, [False] * BATCH)


def retry(world: World) -> Sequence[object]:
    jobs, claims = held(world, "retry ")
    return (world.worker_id, jobs, claims, [FAR_OFF] * BATCH, *[[None] * BATCH] * 3)


def release(world: World) -> Sequence[object]:
    jobs, claims = held(world, "release ")
    return (world.worker_id, jobs, claims)


def defers(lock: str | None, queueing_lock: str | None) -> Sequence[object]:
    locks = [None if lock is None else f"{lock} {n}" for n in range(BATCH)]
    queueing = [None if queueing_lock is None else f"{queueing_lock} {n}" for n in range(BATCH)]
    return (["q"] * BATCH, ["task"] * BATCH, [0] * BATCH, locks, queueing, [None] * BATCH)


FETCH = b"select * from procrastinate_fetch_jobs_v1(%s::bigint, array['q'], 10)"
FETCH_ALL = b"select * from procrastinate_fetch_jobs_v1(%s::bigint, null, 10)"
EXCHANGE = (
    b"select * from procrastinate_finish_and_fetch_v1(%s::bigint, array['q'], 10, null,"
    b" %s::bigint[], %s::bigint[], %s::procrastinate_job_status[], %s::boolean[])"
)
FINISH = (
    b"select * from procrastinate_finish_jobs_v1(%s::bigint, %s::bigint[], %s::bigint[],"
    b" %s::procrastinate_job_status[], %s::boolean[])"
)
RETRY = (
    b"select * from procrastinate_retry_jobs_v1(%s::bigint, %s::bigint[], %s::bigint[],"
    b" %s::timestamptz[], %s::integer[], %s::text[], %s::text[])"
)
RELEASE = b"select * from procrastinate_release_jobs_v1(%s::bigint, %s::bigint[], %s::bigint[])"
DEFER = (
    b"select * from procrastinate_defer_jobs_v2(%s::text[], %s::text[], %s::integer[],"
    b" %s::text[], %s::text[], array_fill('{}'::jsonb, array[10]), %s::timestamptz[])"
)
DEFER_ONE = b"select procrastinate_defer_job('q', 'task', lock => 'l', queueing_lock => 'k')"


def one(status: str, lock: str | None = None) -> Callable[[World], Sequence[object]]:
    return lambda world: world.jobs(1, status=status, lock=lock)


CALLS = (
    Call(name="fetch", sql=FETCH, prepare=ready()),
    Call(name="fetch, a lock each", sql=FETCH, prepare=ready("own ")),
    Call(name="fetch, one lock", sql=FETCH, prepare=ready("shared", own=False)),
    Call(name="fetch, nothing", sql=FETCH, prepare=lambda world: (world.worker_id,)),
    Call(name="finish and fetch", sql=EXCHANGE, prepare=exchange),
    Call(name="finish", sql=FINISH, prepare=finish),
    Call(name="finish, a lock each", sql=FINISH, prepare=lambda world: finish(world, "f ")),
    Call(name="retry", sql=RETRY, prepare=retry),
    Call(name="release", sql=RELEASE, prepare=release),
    Call(name="defer many", sql=DEFER, prepare=lambda _: defers(None, None)),
    Call(name="defer many with locks", sql=DEFER, prepare=lambda _: defers("l", "k")),
    Call(name="defer one", sql=DEFER_ONE, prepare=lambda _: ()),
    Call(
        name="cancel",
        sql=b"select procrastinate_cancel_job(%s::bigint)",
        prepare=one("todo", "the lock"),
    ),
    Call(
        name="retry a failed job",
        sql=b"select procrastinate_retry_job(%s::bigint)",
        prepare=one("failed", "the lock"),
    ),
    Call(
        name="reschedule",
        sql=b"select procrastinate_reschedule_job(%s::bigint, now() + '1 hour')",
        prepare=one("todo"),
    ),
    Call(
        name="heartbeat",
        sql=b"select * from procrastinate_heartbeat_v2(%s::bigint)",
        prepare=lambda world: (world.worker_id,),
        reads_whole=DOING,
    ),
    Call(
        name="heartbeat that names jobs",
        sql=b"select * from procrastinate_heartbeat_v2(%s::bigint, null, array[%s::bigint])",
        prepare=lambda world: (world.worker_id, *one("doing")(world)),
    ),
    Call(
        name="say that a worker is quiet",
        sql=b"select procrastinate_set_quiet_v1(%s::bigint, true)",
        prepare=lambda world: (world.worker_id,),
    ),
    Call(
        name="jobs to abort",
        sql=b"select * from procrastinate_list_jobs_to_abort_v2(%s::bigint)",
        prepare=lambda world: (world.worker_id,),
        reads_whole=DOING,
    ),
    Call(
        name="jobs to abort of those named",
        sql=b"select procrastinate_list_jobs_to_abort_v2(%s::bigint, array[%s::bigint])",
        prepare=lambda world: (world.worker_id, *one("doing")(world)),
    ),
    Call(
        name="prune",
        sql=b"select procrastinate_prune_workers_v1('30 seconds')",
        prepare=lambda _: (),
        reads_whole=DOING,
    ),
    Call(
        name="recover",
        sql=b"select procrastinate_recover_stalled_jobs()",
        prepare=lambda _: (),
        reads_whole=DOING,
    ),
    Call(
        name="recover jobs of tasks",
        sql=b"select * from procrastinate_recover_jobs_v1('30 seconds', '{t}', '{1}')",
        prepare=lambda _: (),
        reads_whole=DOING,
    ),
    Call(
        name="sweep",
        sql=b"select * from procrastinate_sweep_v1(100)",
        prepare=lambda _: (),
        # heads that stand blocked are looked for among all that wait
        reads_whole=DOING | {"procrastinate_todo"},
    ),
    Call(
        name="purge",
        sql=b"select procrastinate_purge_jobs('1 day', 'nobody''s', max_jobs => 1)",
        prepare=lambda _: (),
        reads=4_500,  # steps of 1,000, 2,000 and 4,000 jobs, of all that there are
    ),
    Call(
        name="retire",
        sql=b"select * from procrastinate_retire_jobs_v1('1 day', 0, 60)",
        prepare=lambda _: (),
    ),
    Call(
        name="old fetch",
        sql=b"select * from procrastinate_fetch_job_v2(array['q'], %s::bigint)",
        prepare=ready(),
    ),
    Call(
        name="old finish",
        sql=b"select procrastinate_finish_job_v1(%s::bigint, 'succeeded', false)",
        prepare=one("doing"),
    ),
)
STATES = ("empty", "full", "analysed full", "analysed empty, then full", "vacuumed full")


def bring_about(state: str, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        world = World(conn)
        if state == "empty":
            return
        if state == "analysed empty, then full":
            conn.execute("analyze")
        world.masses(MASS)
        if state == "analysed full":
            conn.execute("analyze")
        if state == "vacuumed full":
            conn.execute("vacuum analyze")


@pytest.mark.parametrize("state", STATES)
def test_no_hot_call_scans_a_queue_table_or_reads_what_it_is_not_about(
    dsn: str, state: str
) -> None:
    bring_about(state, dsn)
    faults: list[str] = []
    for call in CALLS:
        # in a connection of its own: plans are made for what the tables are now
        with psycopg.connect(dsn, autocommit=True) as conn:
            arguments = call.prepare(World(conn))
            reader = PlanReader(conn)
            with reader.listening():
                conn.execute(call.sql, arguments)
            assert reader.statements > 0, "auto_explain told nothing"
            faults += call.faults(reader.of_queue_tables())
            conn.execute("delete from procrastinate_jobs where queue_name in ('q', 'held') ")
    assert not faults, "\n\n".join(faults)


def test_where_a_purge_ends_is_told_by_the_history_of_two_jobs(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        world = World(conn)
        world.delayed(MASS)
        last = world.value("select max(id) from procrastinate_jobs")
        conn.execute("set enable_nestloop = off")  # as a purge has it
        reader = PlanReader(conn)
        with reader.listening():
            ends = conn.execute(
                "select _procrastinate_are_young(%s, now() - interval '1 day')", (last,)
            ).fetchone()
        assert ends == (True,)
        assert [scan for scan in reader.of_queue_tables() if scan.rows > READ] == []
