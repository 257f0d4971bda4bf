"""Defers that are made at once ride together, each with its own id or its own error."""

from __future__ import annotations

import asyncio
import contextvars
import datetime
import logging
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from procrastinate import App, exceptions, pieces, testing

from .conftest import POOL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

    from tests.conftest import AsyncConnect

    from .conftest import Wire

PATIENCE = 20.0  # seconds, for what takes milliseconds


async def outcomes(*defers: Awaitable[int]) -> list[Any]:
    """Wait for all; an error is shown by its class."""
    return [
        type(done) if isinstance(done, BaseException) else done
        for done in await asyncio.gather(*defers, return_exceptions=True)
    ]


def numbers(conn: psycopg.Connection) -> dict[int, Any]:
    """What the jobs of the task ``t`` were given as ``n``, by their ids."""
    return dict(
        conn.execute(
            "select id, args -> 'n' from procrastinate_jobs where task_name = 't' order by id"
        ).fetchall()
    )


def defer(app: App, n: Any, **options: Any) -> Coroutine[Any, Any, int]:
    return app.configure_task("t", **options).defer_async(n=n)


async def all_given_back(app: App) -> None:
    """Wait until all connections of the pool are free."""
    pool: Any = app.connector
    pool = pool.pool
    async with asyncio.timeout(PATIENCE):
        taken = [await pool.getconn() for _ in range(POOL)]
    for connection in taken:
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        await pool.putconn(connection)


# Who rides with whom


async def test_what_comes_while_one_is_under_way_goes_with_the_next(
    app: App, wire: Wire, conn: psycopg.Connection
) -> None:
    ids = await asyncio.gather(*(defer(app, n) for n in range(10)))

    assert wire.statements == [1, 9]
    assert numbers(conn) == {job_id: n for n, job_id in enumerate(ids)}
    assert ids == sorted(ids)


async def test_a_defer_that_is_alone_is_a_call_of_its_own(app: App, wire: Wire) -> None:
    for n in range(3):
        await defer(app, n)

    assert wire.statements == [1, 1, 1]
    assert wire.tasks == [asyncio.current_task()] * 3


async def test_those_who_defer_one_after_the_other_stay_together(app: App, wire: Wire) -> None:
    async def many() -> list[int]:
        return [await defer(app, n) for n in range(4)]

    ids = await asyncio.gather(*(many() for _ in range(10)))

    assert wire.statements == [1, 10, 10, 10, 9]
    assert all(own == sorted(own) for own in ids)


async def test_the_line_is_free_after_a_batch(app: App, wire: Wire) -> None:
    await asyncio.gather(*(defer(app, n) for n in range(3)))
    await asyncio.sleep(0)  # those who got answers might have gone on at once

    await defer(app, 3)

    assert wire.statements == [1, 2, 1]
    assert wire.tasks[-1] is asyncio.current_task()


async def test_all_that_a_job_has_arrives(app: App, conn: psycopg.Connection) -> None:
    moment = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    odd = {"text": 'a "quoted" \\ , {NULL} é', "none": None}

    await asyncio.gather(
        defer(app, 0),
        defer(app, odd, queue="q,{}", priority=-3, lock='l"\\', schedule_at=moment),
        defer(app, [1], lock="NULL"),
    )

    assert conn.execute(
        "select queue_name, priority, lock, args, scheduled_at "
        "from procrastinate_jobs order by id"
    ).fetchall() == [
        ("default", 0, None, {"n": 0}, None),
        ("q,{}", -3, 'l"\\', {"n": odd}, moment),
        ("default", 0, "NULL", {"n": [1]}, None),
    ]


async def test_a_statement_takes_a_bounded_number_of_jobs(
    app: App, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "MOST_JOBS", 4)

    await asyncio.gather(*(defer(app, n) for n in range(10)))

    assert wire.statements == [1, 4, 4, 1]


async def test_a_statement_has_bounded_arguments(
    app: App, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "MOST_TEXT", 1000)
    long, longer = "x" * 390, "é" * 200  # written as \u00e9

    await asyncio.gather(*(defer(app, n) for n in (0, long, long, long, longer, 1, 2)))

    assert wire.statements == [1, 2, 1, 1, 2]


async def test_jobs_of_the_callers_transaction_do_not_ride(
    app: App, wire: Wire, aconnect: AsyncConnect, conn: psycopg.Connection
) -> None:
    mine = await aconnect(autocommit=False)

    await asyncio.gather(*(defer(app, n) for n in range(3)), defer(app, 3, connection=mine))
    await mine.rollback()

    assert wire.statements == [1, 1, 2]
    assert list(numbers(conn).values()) == [0, 1, 2]


async def test_each_defer_is_logged_for_itself(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="procrastinate.jobs")

    ids = await asyncio.gather(*(defer(app, n) for n in range(3)))

    records = [record.__dict__ for record in caplog.records]
    assert [record["action"] for record in records] == (
        ["about_to_defer_jobs"] * 3 + ["jobs_deferred"] * 3
    )
    assert [[job["id"] for job in record["jobs"]] for record in records[3:]] == [
        [job_id] for job_id in ids
    ]


async def test_what_goes_on_for_all_is_not_part_of_what_one_does(
    app: App, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    doing = contextvars.ContextVar("doing", default="nothing")
    seen: list[str] = []

    async def look(call: Any, **options: Any) -> Any:
        seen.append(doing.get())
        return await wire.call_async(call, **options)

    monkeypatch.setattr(app.connector, "call_async", look)

    async def one(n: int) -> None:
        doing.set(f"defer {n}")
        await defer(app, n)

    await asyncio.gather(*(one(n) for n in range(3)))

    assert seen == ["defer 0", "nothing"]


# Each has its own error


async def test_a_taken_queueing_lock_concerns_one(app: App, conn: psycopg.Connection) -> None:
    await defer(app, "first", queueing_lock="taken")

    done = await outcomes(
        defer(app, 0),
        defer(app, 1),
        defer(app, 2, queueing_lock="taken"),
        defer(app, 3, queueing_lock="free"),
        defer(app, 4, queueing_lock="free"),
        defer(app, 5),
    )

    assert done[2] is exceptions.AlreadyEnqueued
    assert done[3:5].count(exceptions.AlreadyEnqueued) == 1
    assert len(numbers(conn)) == 5
    assert all(isinstance(done[n], int) for n in (0, 1, 5))


async def test_who_must_wait_for_a_transaction_holds_nobody_back(
    app: App, aconnect: AsyncConnect
) -> None:
    mine = await aconnect(autocommit=False)
    await defer(app, 0, queueing_lock="mine", connection=mine)

    waits = asyncio.ensure_future(defer(app, 1, queueing_lock="mine"))
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(defer(app, n) for n in range(2, 6)))
        await defer(app, 6, queueing_lock="another")
    assert not waits.done()
    await mine.commit()

    with pytest.raises(exceptions.AlreadyEnqueued):
        await waits


BAD: list[tuple[dict[str, Any], type]] = [
    ({"n": object()}, TypeError),
    ({"n": float("nan")}, exceptions.ConnectorException),
    ({"n": "\0"}, exceptions.ConnectorException),
    ({"n": 1, "queue": "q" * 129}, exceptions.InvalidArgument),
    ({"n": 1, "priority": 2**31}, exceptions.ConnectorException),
    ({"n": 1, "lock": "\0"}, exceptions.ConnectorException),
    ({"n": 1, "lock": "\ud800"}, UnicodeEncodeError),
]


@pytest.mark.parametrize("place", [0, 1, 5])
async def test_a_bad_job_fails_for_itself(
    app: App, conn: psycopg.Connection, place: int
) -> None:
    deferred: dict[int, Any] = {}
    for bad, error in BAD:
        defers = [defer(app, n) for n in range(5)]
        defers.insert(place, defer(app, **bad))

        done = await outcomes(*defers)

        assert done.pop(place) is error
        deferred |= {job_id: n for n, job_id in enumerate(done)}
    assert numbers(conn) == deferred
    await all_given_back(app)


async def test_a_bad_job_hears_why(app: App) -> None:
    done = await asyncio.gather(
        *(defer(app, n, queue="q" * (127 + n)) for n in range(4)), return_exceptions=True
    )

    assert [str(error) for error in done[2:]] == [
        str(error)
        for error in await asyncio.gather(
            defer(app, 2, queue="q" * 129),
            defer(app, 3, queue="q" * 130),
            return_exceptions=True,
        )
    ]
    assert "129" in str(done[2])
    assert "130" in str(done[3])


async def test_many_bad_jobs_leave_the_good_ones(app: App, conn: psycopg.Connection) -> None:
    done = await outcomes(
        *(defer(app, n, queue="q" * 129 if n % 3 else "q") for n in range(30))
    )

    assert [n for n, outcome in enumerate(done) if isinstance(outcome, int)] == list(
        range(0, 30, 3)
    )
    assert list(numbers(conn).values()) == list(range(0, 30, 3))


async def test_memory_says_the_same(app: App) -> None:
    options: list[dict[str, Any]] = [
        {},
        {"queueing_lock": "a"},
        {},
        {"queueing_lock": "a"},
        {"queue": "q" * 129},
        {"lock": "l"},
    ]

    async def defer_all() -> list[bool | type]:
        done = await outcomes(*(defer(app, n, **kw) for n, kw in enumerate(options)))
        return [isinstance(outcome, int) or outcome for outcome in done]

    real = await defer_all()
    with app.replace_connector(testing.InMemoryConnector()):
        memory = await defer_all()

    assert sorted(map(str, memory)) == sorted(map(str, real))
    assert [real[n] for n in (0, 2, 4, 5)] == [memory[n] for n in (0, 2, 4, 5)]


# Who does not wait any more


async def test_who_is_cancelled_in_the_line_does_not_go(
    app: App, wire: Wire, conn: psycopg.Connection
) -> None:
    wire.is_open.clear()
    tasks = [asyncio.ensure_future(defer(app, n)) for n in range(5)]
    await wire.has(statements=1)

    tasks[2].cancel()
    wire.is_open.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(done[2], asyncio.CancelledError)
    assert wire.statements == [1, 3]
    assert list(numbers(conn).values()) == [0, 1, 3, 4]


async def test_who_is_cancelled_on_the_way_leaves_the_others(app: App, wire: Wire) -> None:
    await defer(app, 0)
    wire.is_open.clear()
    tasks = [asyncio.ensure_future(defer(app, n)) for n in range(5)]
    await wire.has(statements=2)
    wire.is_open.set()
    await tasks[0]
    wire.is_open.clear()
    await wire.has(statements=3)

    tasks[2].cancel()
    wire.is_open.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)

    assert wire.statements == [1, 1, 4]
    assert [type(outcome) for outcome in done] == [
        int,
        int,
        asyncio.CancelledError,
        int,
        int,
    ]


async def test_who_goes_alone_and_is_cancelled_lets_the_next_go(app: App, wire: Wire) -> None:
    wire.is_open.clear()
    tasks = [asyncio.ensure_future(defer(app, n)) for n in range(3)]
    await wire.has(statements=1)

    tasks[0].cancel()
    wire.is_open.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(outcome) for outcome in done] == [asyncio.CancelledError, int, int]
    assert wire.statements == [1, 2]


async def test_who_is_cancelled_on_the_way_is_not_sent_again(
    app: App, wire: Wire, conn: psycopg.Connection
) -> None:
    wire.is_open.clear()
    queues = ("q", "q", "q" * 129, "q")
    tasks = [
        asyncio.ensure_future(defer(app, n, queue=queue)) for n, queue in enumerate(queues)
    ]
    await wire.has(statements=1)
    tasks[0].cancel()
    await wire.has(statements=2)

    tasks[1].cancel()
    await asyncio.wait(tasks[:2])
    wire.is_open.set()
    done = await outcomes(*tasks[2:])

    assert done[0] is exceptions.InvalidArgument
    assert numbers(conn) == {done[1]: 3}


async def all_wait(conn: psycopg.Connection, sessions: int) -> None:
    """Wait until so many sessions wait for a lock."""
    while conn.execute(  # noqa: ASYNC110 (it is not announced)
        "select count(*) from pg_stat_activity "
        "where datname = current_database() and wait_event_type = 'Lock'"
    ).fetchone() != (sessions,):
        await asyncio.sleep(0)


async def test_a_statement_that_nobody_waits_for_is_cancelled(
    app: App, wire: Wire, aconnect: AsyncConnect, conn: psycopg.Connection
) -> None:
    await defer(app, 0)
    wire.is_open.clear()
    first, *rest = (asyncio.ensure_future(defer(app, n)) for n in range(1, 6))
    await wire.has(statements=2)
    mine = await aconnect(autocommit=False)
    await mine.execute("lock table procrastinate_jobs in exclusive mode")
    rest[0].cancel()  # in the line
    wire.is_open.set()
    first.cancel()
    await wire.has(statements=3)
    await all_wait(conn, 1)  # a statement that has not begun would not hear of it
    for task in rest:
        task.cancel()
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait([first, *rest])
        await all_given_back(app)  # while the table is locked still
    await mine.rollback()

    await defer(app, 6)
    assert list(numbers(conn).values()) == [0, 6]


# An absent database


async def kill_who_waits(conn: psycopg.Connection) -> None:
    """End the session that waits for a lock, once one does."""
    while not conn.execute(  # noqa: ASYNC110 (it is not announced)
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
        "where datname = current_database() and wait_event_type = 'Lock'"
    ).fetchall():
        await asyncio.sleep(0)


async def test_a_lost_connection_is_the_error_of_each(
    app: App, wire: Wire, conn: psycopg.Connection
) -> None:
    wire.is_open.clear()
    tasks = [asyncio.ensure_future(defer(app, n)) for n in range(4)]
    await wire.has(statements=1)
    conn.execute("begin; lock table procrastinate_jobs in exclusive mode")
    wire.is_open.set()
    with psycopg.connect(conn.info.dsn, autocommit=True) as other:
        await kill_who_waits(other)
        with pytest.raises(exceptions.DatabaseUnavailable):
            await tasks[0]
        await kill_who_waits(other)
    done = await asyncio.gather(*tasks[1:], return_exceptions=True)
    conn.execute("rollback")

    assert [type(error) for error in done] == [exceptions.DatabaseUnavailable] * 3
    assert len({id(error) for error in done}) == 3
    assert all(
        isinstance(error, BaseException) and isinstance(error.__cause__, psycopg.Error)
        for error in done
    )
    assert wire.statements == [1, 3]
    await defer(app, 5)
    assert list(numbers(conn).values()) == [5]
    await all_given_back(app)


async def test_an_app_that_is_not_open_says_so_to_each(app: App) -> None:
    await app.close_async()

    assert await outcomes(*(defer(app, n) for n in range(3))) == [exceptions.AppNotOpen] * 3
