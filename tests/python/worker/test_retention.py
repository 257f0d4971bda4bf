"""Jobs that ended long ago are deleted by the workers, if they are told to."""

from __future__ import annotations

import asyncio
import datetime
import logging
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import exceptions
from procrastinate.rpc import values
from procrastinate.worker import Worker, retention, waiting

if TYPE_CHECKING:
    import psycopg

    from procrastinate import App

    from .conftest import Database, Drain, StartWorker

DAY = datetime.timedelta(days=1)


def ended_jobs(conn: psycopg.Connection, count: int, ago: str) -> list[int]:
    """Jobs that were deferred and ended so long ago."""
    with conn.transaction():  # no worker sees them before they have ended
        rows = conn.execute(
            b"insert into procrastinate_jobs (queue_name, task_name)"
            b" select 'kept', 't' from generate_series(1, %s) returning id",
            (count,),
        ).fetchall()
        ids = [row[0] for row in rows]
        conn.execute(
            b"update procrastinate_jobs set status = 'cancelled' where id = any(%s)", (ids,)
        )
        conn.execute(
            b"update procrastinate_events set at = at - %s::interval where job_id = any(%s)",
            (ago, ids),
        )
    return ids


def there(conn: psycopg.Connection) -> list[int]:
    return [row[0] for row in conn.execute(b"select id from procrastinate_jobs order by id")]


async def test_by_default_jobs_are_kept(
    start_worker: StartWorker, conn: psycopg.Connection
) -> None:
    ids = ended_jobs(conn, 2, "1000 days")
    run = await start_worker()
    await asyncio.wait_for(run.worker.retainer.run(), 20)
    await run.stop()

    assert there(conn) == ids


@pytest.mark.parametrize("option", [DAY, 86400, 86400.0])
async def test_one_option_deletes_what_ended_long_ago_and_nothing_else(
    start_worker: StartWorker, conn: psycopg.Connection, database: Database, option: Any
) -> None:
    ended_jobs(conn, 3, "2 days")
    young = ended_jobs(conn, 2, "1 hour")

    await start_worker(retention=option, queues=["another"])

    await database.until(
        "select 1 from procrastinate_jobs having count(*) = 2 and count(*) filter "
        "(where id = any(%s)) = 2",
        young,
    )


async def test_the_option_may_be_a_default_of_the_app(
    app: App, conn: psycopg.Connection, database: Database
) -> None:
    ended_jobs(conn, 1, "2 days")
    app.worker_defaults = {"retention": DAY}
    task = asyncio.create_task(app.run_worker_async(install_signal_handlers=False))

    await database.until("select 1 where not exists (select from procrastinate_jobs)")

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_pass_goes_on_until_nothing_old_is_left(
    start_worker: StartWorker,
    conn: psycopg.Connection,
    database: Database,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "procrastinate")
    ended_jobs(conn, 2500, "2 days")

    run = await start_worker(retention=DAY)
    await database.until("select 1 where not exists (select from procrastinate_jobs)")
    await run.stop()

    (record,) = [r for r in caplog.records if getattr(r, "action", "") == "jobs_retired"]
    assert record.getMessage() == "Deleted 2500 jobs that ended more than 1 day, 0:00:00 ago"
    assert record.__dict__["retired"] == 2500


async def test_each_step_of_a_pass_goes_on_where_the_one_before_ended(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def call_async(call: Any) -> values.Retired:
        asked.append(call.args["p_after_id"])
        if len(asked) == 3:
            raise asyncio.CancelledError
        return values.Retired(retired=0, next_id=len(asked) * 10)

    monkeypatch.setattr(app.connector, "call_async", call_async)
    with pytest.raises(asyncio.CancelledError):
        await Worker(app, retention=DAY).retainer.run()
    assert asked == [0, 10, 20]


async def test_between_steps_it_rests_twice_as_long_as_the_last_one_took(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []
    clock = 0.0

    async def call_async(call: Any) -> values.Retired:
        nonlocal clock
        clock += 3
        return values.Retired(retired=1, next_id=None if call.args["p_after_id"] else 10)

    async def event_or_deadline(event: asyncio.Event, seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 2:  # the pause between two passes
            raise asyncio.CancelledError

    monkeypatch.setattr(app.connector, "call_async", call_async)
    monkeypatch.setattr(waiting, "event_or_deadline", event_or_deadline)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock)
    with pytest.raises(asyncio.CancelledError):
        await Worker(app, retention=DAY).retainer.run()
    assert rests == [6.0, 3600.0]


async def test_passes_are_repeated(
    start_worker: StartWorker,
    conn: psycopg.Connection,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "SHORTEST_PAUSE", 0.01)
    monkeypatch.setattr(retention, "LONGEST_PAUSE", 0.01)
    ended_jobs(conn, 1, "2 days")
    run = await start_worker(retention=DAY)
    await database.until("select 1 where not exists (select from procrastinate_jobs)")

    ended_jobs(conn, 1, "2 days")

    assert not run.task.done()
    await database.until("select 1 where not exists (select from procrastinate_jobs)")


@pytest.mark.parametrize(
    ("age", "seconds"),
    [(1, 60.0), (600, 60.0), (3600, 360.0), (DAY, 3600.0), (100 * DAY, 3600.0)],
    ids=str,
)
async def test_the_pause_between_passes_is_a_tenth_of_the_age_within_bounds(
    app: App, monkeypatch: pytest.MonkeyPatch, age: Any, seconds: float
) -> None:
    pauses: list[float] = []

    async def event_or_deadline(event: asyncio.Event, pause: float) -> None:
        pauses.append(pause)
        if len(pauses) == 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(waiting, "event_or_deadline", event_or_deadline)
    with pytest.raises(asyncio.CancelledError):
        await Worker(app, retention=age).retainer.run()
    assert pauses == [seconds, seconds]


async def test_a_job_that_a_table_of_the_users_points_at_does_not_stop_the_worker(
    start_worker: StartWorker,
    conn: psycopg.Connection,
    database: Database,
    caplog: pytest.LogCaptureFixture,
    app: App,
) -> None:
    (held,) = ended_jobs(conn, 1, "2 days")
    conn.execute("create table orders (job_id bigint references procrastinate_jobs)")
    conn.execute("insert into orders values (%s)", (held,))
    ran = asyncio.Event()

    @app.task
    async def task() -> None:
        ran.set()

    with caplog.at_level(logging.ERROR, "procrastinate"):
        run = await start_worker(retention=DAY)
        await database.until("select 1 from procrastinate_workers")
        while not caplog.records:  # noqa: ASYNC110 (it is not announced)
            await asyncio.sleep(0.002)
        await task.defer_async()
        await asyncio.wait_for(ran.wait(), 20)
        await run.stop()

    assert [getattr(r, "action", "") for r in caplog.records] == ["retention_failed"]
    start, _, reason = caplog.records[0].getMessage().partition(": ")
    assert start == "Jobs that ended more than 1 day, 0:00:00 ago could not be deleted"
    assert '"orders"' in reason
    assert caplog.records[0].exc_info is not None
    assert held in there(conn)


async def test_a_database_that_does_not_answer_is_waited_for(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(app, retention=DAY)
    down = exceptions.DatabaseUnavailable()

    async def call_async(*_: object) -> None:
        raise down

    monkeypatch.setattr(app.connector, "call_async", call_async)
    task = asyncio.create_task(worker.retainer.run())
    while not caplog.records:  # noqa: ASYNC110 (it is not announced)
        await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert [getattr(r, "action", "") for r in caplog.records] == ["database_unavailable"]


async def test_only_one_worker_deletes_at_a_time_and_the_others_do_not_wait(
    app: App, conn: psycopg.Connection, dsn: str
) -> None:
    import psycopg

    from procrastinate.rpc import wire

    ids = ended_jobs(conn, 2, "2 days")
    with psycopg.connect(dsn) as other:
        other.execute("select procrastinate_retire_jobs_v1('10 days')")  # finds nothing

        mine = await app.connector.call_async(wire.retire_jobs_v1(older_than=DAY))

    assert (mine.retired, mine.next_id) == (0, None)
    assert there(conn) == ids
    after = await app.connector.call_async(wire.retire_jobs_v1(older_than=DAY))
    assert (after.retired, after.next_id) == (2, None)


async def test_a_pass_is_not_ended_by_a_sweep_at_the_same_time(
    app: App, conn: psycopg.Connection, dsn: str
) -> None:
    import psycopg

    from procrastinate.rpc import wire

    ended_jobs(conn, 2, "2 days")
    with psycopg.connect(dsn) as other:
        other.execute("select procrastinate_sweep_v1()")
        step = await app.connector.call_async(wire.retire_jobs_v1(older_than=DAY))

    assert (step.retired, step.next_id) == (2, None)


async def test_a_job_that_another_transaction_holds_is_left_for_the_next_pass(
    app: App, conn: psycopg.Connection, dsn: str
) -> None:
    import psycopg

    from procrastinate.rpc import wire

    held, other_job = ended_jobs(conn, 2, "2 days")
    with psycopg.connect(dsn) as other:
        other.execute("select from procrastinate_jobs where id = %s for share", (held,))
        step = await app.connector.call_async(wire.retire_jobs_v1(older_than=DAY))

    assert step.retired == 1
    assert there(conn) == [held]
    assert other_job != held


@pytest.mark.parametrize("option", [0, -1, datetime.timedelta(0)])
async def test_no_age_is_an_error_and_not_no_limit(app: App, option: Any) -> None:
    with pytest.raises(
        ValueError,
        match=r"^The retention is [-\d:a-z, ]+: it must be positive, "
        r"or None to keep jobs for ever$",
    ):
        Worker(app, retention=option)


async def test_a_worker_that_does_not_wait_ends_all_the_same(
    drain: Drain, conn: psycopg.Connection
) -> None:
    await drain(retention=DAY)

    assert conn.execute(b"select from procrastinate_workers").fetchall() == []
