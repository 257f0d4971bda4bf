"""A column comes to the jobs while everybody works: as each later migration may have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

import procrastinate
from procrastinate import sql
from tests.python.plans.test_hot_plans import BATCH, CALLS, Call, held, one
from tests.python.plans.world import World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.python.races.harness import Stage

NEXT = "alter table procrastinate_jobs add column procrastinate_next text not null default 'n'"


def claims(world: World) -> Sequence[object]:
    world.jobs(BATCH)
    return (world.worker_id, *held(world))


def policies(world: World) -> Sequence[object]:
    jobs, claims = held(world)
    world.conn.execute(
        b"update procrastinate_jobs set max_attempts = 3, retry_delay = '1 hour'"
        b" where id = any(%s)",
        (jobs[::2],),
    )
    return (world.worker_id, jobs, claims)


def with_options(world: World) -> Sequence[object]:
    world.value("select procrastinate_defer_job('o', 't', max_attempts => 2)")
    return (world.worker_id,)


def none(_: World) -> Sequence[object]:
    return ()


#: What is not hot, in as many ways as rows of jobs are read whole or written.
MORE = (
    Call(
        name="fail as the data says",
        sql=b"select * from procrastinate_fail_jobs_v1(%s::bigint, %s::bigint[], %s::bigint[],"
        b" array_fill('{}'::jsonb, array[10]), array_fill(false, array[10]))",
        prepare=policies,
    ),
    Call(
        name="finish with results and fetch",
        sql=b"select * from procrastinate_finish_and_fetch_v2(%s::bigint, array['q'], 10, null,"
        b" %s::bigint[], %s::bigint[],"
        b" array_fill('succeeded'::procrastinate_job_status, array[10]),"
        b" array_fill(false, array[10]), array_fill('1'::jsonb, array[10]), null)",
        prepare=claims,
    ),
    Call(
        name="defer with options",
        sql=b"select procrastinate_defer_job('o', 't', max_attempts => 2, ttl => '1 hour',"
        b" group_key => 'g', timeout => '1 second')",
        prepare=none,
    ),
    Call(
        name="fetch with options",
        sql=b"select * from procrastinate_fetch_jobs_v1(%s::bigint, '{o}', 10)",
        prepare=with_options,
    ),
    Call(
        name="explain",
        sql=b"select * from procrastinate_explain_job(%s::bigint)",
        prepare=one("todo", "the lock"),
    ),
    Call(name="check", sql=b"select * from procrastinate_check()", prepare=none),
    Call(name="repair", sql=b"select procrastinate_repair()", prepare=none),
    Call(
        name="cancel many",
        sql=b"select * from procrastinate_cancel_jobs(job_ids => array[%s::bigint])",
        prepare=one("todo"),
    ),
    Call(
        name="retry many",
        sql=b"select * from procrastinate_retry_jobs(job_ids => array[%s::bigint])",
        prepare=one("failed"),
    ),
    Call(
        name="results",
        sql=b"select * from procrastinate_get_results_v1(array[%s::bigint])",
        prepare=one("succeeded"),
    ),
    Call(
        name="watch",
        sql=b"select * from procrastinate_watch_job(%s::bigint)",
        prepare=one("doing"),
    ),
    Call(name="overview", sql=b"select * from procrastinate_overview", prepare=none),
    Call(name="stalled", sql=b"select * from procrastinate_stalled", prepare=none),
    Call(
        name="old retry",
        sql=b"select procrastinate_retry_job_v2(%s::bigint, now(), null, null, null)",
        prepare=one("failed"),
    ),
    Call(
        name="old cancel",
        sql=b"select procrastinate_cancel_job_v1(%s::bigint, true, false)",
        prepare=one("doing"),
    ),
    Call(
        name="a bare insert",
        sql=b"insert into procrastinate_jobs (queue_name, task_name) values ('q', 't')",
        prepare=none,
    ),
    Call(
        name="a bare update",
        sql=b"update procrastinate_jobs set priority = priority + 1 where id = %s::bigint",
        prepare=one("todo"),
    ),
    Call(
        name="a bare delete",
        sql=b"delete from procrastinate_jobs where id = %s::bigint",
        prepare=one("todo"),
    ),
)


def test_no_call_fails_though_it_is_prepared_and_a_column_comes_while_it_waits(
    stage: Stage, conn: psycopg.Connection
) -> None:
    calls = {call.name: call for call in (*CALLS, *MORE)}
    for name, call in calls.items():
        session = stage.session(name)
        session.connection.prepare_threshold = 0  # each statement, with its first execution
        session.run("set plan_cache_mode = force_generic_plan")
        session.run(call.sql.decode(), call.prepare(World(conn)))
        conn.execute("delete from procrastinate_jobs")
    given = {name: call.prepare(World(conn)) for name, call in calls.items()}

    migration = stage.session("migration")
    migration.begin()
    migration.run(NEXT)
    begun = [
        stage.session(name).start(call.sql.decode(), given[name])
        for name, call in calls.items()
    ]
    stage.settle()
    waited = {each.session.name for each in begun if not each.ended}
    migration.commit()
    stage.settle()
    errors = {each.session.name: each.error for each in begun}

    assert errors == dict.fromkeys(calls)
    # those that touch no job had nothing to wait for
    assert {*calls} - waited == {"prune", "say that a worker is quiet"}
    for name, call in calls.items():
        conn.execute("delete from procrastinate_jobs")
        stage.session(name).run(call.sql.decode(), call.prepare(World(conn)))
    assert conn.execute("select * from procrastinate_check()").fetchall() == []


def test_what_a_client_of_3_x_fetches_has_the_columns_of_its_table(
    conn: psycopg.Connection,
) -> None:
    worker_id = World(conn).worker_id
    # what this returns is asked for in tests/python/fleet/test_catalogue.py, of 3.10 itself
    conn.execute(NEXT)
    fetched = conn.execute("select * from procrastinate_fetch_job_v2(null, %s)", [worker_id])
    assert fetched.description is not None
    assert [column.name for column in fetched.description] == [
        "id", "queue_name", "task_name", "priority", "lock", "queueing_lock", "args",
        "status", "scheduled_at", "attempts", "abort_requested", "worker_id",
    ]  # fmt: skip


def test_the_published_queries_and_the_manager_go_on(
    dsn: str, conn: psycopg.Connection
) -> None:
    assert sql.queries  # those that 3.10 published read the jobs, too
    connector = procrastinate.SyncPsycopgConnector(conninfo=dsn, min_size=1, max_size=1)
    with procrastinate.App(connector=connector).open() as app:
        app.configure_task("t", queue="q").defer()
        manager = app.job_manager
        reads = (
            manager.list_jobs,
            manager.list_queues,
            manager.list_tasks,
            manager.list_locks,
        )
        before: list[list[object]] = []
        for _ in range(7):  # psycopg prepares what comes more than five times
            before = [list(read()) for read in reads]
        conn.execute(NEXT)
        assert [list(read()) for read in reads] == before
