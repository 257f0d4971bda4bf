"""Transactions that keep one snapshot cannot see who holds a lock now (design §5)."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from psycopg import IsolationLevel

Connect = Callable[..., psycopg.Connection]
STRICT = [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE]


def code(connection: psycopg.Connection, query: str) -> str:
    """'ok' or the SQLSTATE of a statement in a transaction of its own."""
    try:
        with connection.transaction():
            connection.execute(query.encode())
    except psycopg.Error as exc:
        return exc.sqlstate or "no code"
    return "ok"


def number(connection: psycopg.Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    found: int = row[0]
    return found


def lost_heads(connection: psycopg.Connection) -> int:
    return number(connection, "select count(*) from procrastinate_check()")


@pytest.fixture(params=STRICT, ids=lambda level: level.name.lower())
def strict(request: pytest.FixtureRequest, connect: Connect) -> psycopg.Connection:
    connection = connect()
    connection.isolation_level = request.param
    return connection


@pytest.fixture
def worker(conn: psycopg.Connection) -> int:
    return number(conn, "select procrastinate_register_worker_v2()")


def test_fetches_are_refused(
    conn: psycopg.Connection, strict: psycopg.Connection, worker: int
) -> None:
    job = number(conn, "select procrastinate_defer_job('q', 't')")

    for fetch in (
        f"procrastinate_fetch_jobs_v1({worker}, null, 1)",
        f"procrastinate_fetch_jobs_v1({worker}, '{{empty}}', 1)",
        f"procrastinate_finish_and_fetch_v1({worker}, null, 1, null, null, null, null, null)",
        f"procrastinate_fetch_job_v2(null, {worker})",
    ):
        assert code(strict, f"select {fetch}") == "PQ005", fetch
    assert code(conn, f"select procrastinate_fetch_jobs_v1({worker}, null, 1)") == "ok"
    assert (
        number(conn, "select count(*) from procrastinate_doing where job_id = " + str(job)) == 1
    )


def test_the_refusal_names_the_way_out(strict: psycopg.Connection, worker: int) -> None:
    with pytest.raises(psycopg.Error) as caught, strict.transaction():
        strict.execute("select procrastinate_fetch_jobs_v1(%s, null, 1)", [worker])

    assert "READ COMMITTED" in (caught.value.diag.message_primary or "")
    assert "default_transaction_isolation" in (caught.value.diag.message_hint or "")


def test_a_job_with_a_lock_is_not_started_by_hand(
    conn: psycopg.Connection, strict: psycopg.Connection
) -> None:
    free = number(conn, "select procrastinate_defer_job('q', 't')")
    locked = number(conn, "select procrastinate_defer_job('q', 't', lock => 'l')")
    start = "update procrastinate_jobs set status = 'doing' where id = "

    assert code(strict, f"{start}{locked}") == "PQ005"
    assert code(strict, f"{start}{free}") == "ok"
    assert lost_heads(conn) == 0


def test_a_job_with_a_lock_is_not_inserted_as_running(
    conn: psycopg.Connection, strict: psycopg.Connection
) -> None:
    insert = (
        "insert into procrastinate_jobs (queue_name, task_name, lock, status)"
        " values ('q', 't', {}, 'doing')"
    )

    assert code(strict, insert.format("'l'")) == "PQ005"
    assert code(strict, insert.format("null")) == "ok"
    assert lost_heads(conn) == 0


def test_a_running_job_is_not_given_a_lock(
    conn: psycopg.Connection, strict: psycopg.Connection
) -> None:
    job = number(
        conn,
        "insert into procrastinate_jobs (queue_name, task_name, status)"
        " values ('q', 't', 'doing') returning id",
    )

    assert code(strict, f"update procrastinate_jobs set lock = 'l' where id = {job}") == "PQ005"


def test_deferring_ending_and_cancelling_go_on(
    conn: psycopg.Connection, strict: psycopg.Connection
) -> None:
    job = number(strict, "select procrastinate_defer_job('q', 't', lock => 'l')")
    other = number(strict, "select procrastinate_defer_job('q', 't', lock => 'l')")

    conn.execute("update procrastinate_jobs set status = 'doing' where id = %s", [job])
    assert code(strict, f"select procrastinate_finish_job_v1({job}, 'failed', false)") == "ok"
    assert code(strict, f"select procrastinate_retry_job({job})") == "ok"
    assert code(strict, f"select procrastinate_cancel_job({other})") == "ok"
    assert code(strict, f"select procrastinate_cancel_job({job})") == "ok"
    assert lost_heads(conn) == 0


def test_a_promotion_that_such_a_transaction_missed_is_made_by_a_sweep(
    conn: psycopg.Connection, strict: psycopg.Connection, worker: int
) -> None:
    """It does not see the job that was parked since its snapshot; nobody else promotes it."""
    holder = number(conn, "select procrastinate_defer_job('q', 't', lock => 'l')")
    conn.execute("update procrastinate_jobs set status = 'doing' where id = %s", [holder])

    with strict.transaction():
        number(strict, "select count(*) from procrastinate_jobs")  # its snapshot is taken
        waiting = number(conn, "select procrastinate_defer_job('q', 't', lock => 'l')")
        fetched = "select count(job_id) from procrastinate_fetch_jobs_v1({}, null, 1)"
        assert number(conn, fetched.format(worker)) == 0  # parked
        strict.execute("select procrastinate_finish_job_v1(%s, 'succeeded', false)", [holder])

    conn.execute("select procrastinate_sweep_v1()")

    assert lost_heads(conn) == 0
    assert (
        number(
            conn,
            f"select job_id from procrastinate_fetch_jobs_v1({worker}, null, 1)"
            " where outcome = 'claimed'",
        )
        == waiting
    )
