"""Who is told of what, and on which channel (I7). NOTIFYs arrive at the commit only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import pytest
from psycopg import sql

Connect = Callable[..., psycopg.Connection]
ANY = "procrastinate_any_queue_v1"
PREFIX = "procrastinate_queue_v1#"


class Ear:
    """A session that listens, and what it heard."""

    def __init__(self, connection: psycopg.Connection, channels: Sequence[str]) -> None:
        self.connection = connection
        for channel in channels:
            connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))

    def heard(self) -> list[tuple[str, str, int]]:
        """Channel, type and job of each notification since the last time."""
        self.connection.execute("select 1")  # what was sent before this has arrived with it
        found: list[tuple[str, str, int]] = []
        for notify in self.connection.notifies(timeout=0):
            payload = json.loads(notify.payload)
            assert set(payload) == {"type", "job_id"}
            found.append((notify.channel, payload["type"], payload["job_id"]))
        return found


@pytest.fixture
def ear(connect: Connect) -> Ear:
    return Ear(connect(), [ANY, f"{PREFIX}mail", f"{PREFIX}sms"])


def one(connection: psycopg.Connection, query: str, *arguments: Any) -> Any:
    row = connection.execute(query.encode(), arguments).fetchone()
    assert row is not None
    return row[0]


def defer(connection: psycopg.Connection, queue: str = "mail", **columns: Any) -> int:
    """Insert a job by a bare statement."""
    names = ["queue_name", "task_name", *columns]
    query = sql.SQL("insert into procrastinate_jobs ({}) values ({}) returning id").format(
        sql.SQL(", ").join(sql.Identifier(name) for name in names),
        sql.SQL(", ").join(sql.Placeholder() for _ in names),
    )
    row = connection.execute(query, [queue, "a_task", *columns.values()]).fetchone()
    assert row is not None
    job: int = row[0]
    return job


def a_worker(connection: psycopg.Connection) -> int:
    worker: int = one(connection, "select procrastinate_register_worker_v2()")
    return worker


def started(connection: psycopg.Connection, queue: str = "mail", **columns: Any) -> int:
    job = defer(connection, queue, **columns)
    connection.execute("update procrastinate_jobs set status = 'doing' where id = %s", [job])
    return job


def fetch(connection: psycopg.Connection, worker: int) -> list[tuple[int, int]]:
    """Jobs and claims."""
    return connection.execute(
        "select job_id, claim_id from procrastinate_fetch_jobs_v1(%s, null, 10)"
        " where outcome = 'claimed'",
        [worker],
    ).fetchall()


def test_a_defer_tells_its_queue_and_those_who_serve_all(
    conn: psycopg.Connection, ear: Ear
) -> None:
    job = defer(conn)

    assert sorted(ear.heard()) == [
        (ANY, "job_inserted", job),
        (f"{PREFIX}mail", "job_inserted", job),
    ]


def test_a_statement_tells_each_queue_once(conn: psycopg.Connection, ear: Ear) -> None:
    conn.execute(
        """
        insert into procrastinate_jobs (queue_name, task_name, priority)
        select case n % 2 when 0 then 'mail' else 'sms' end, 'a_task', n % 5
        from generate_series(1, 100) as n
        """
    )

    channels = [channel for channel, _, _ in ear.heard()]

    assert channels.count(f"{PREFIX}mail") == 1
    assert channels.count(f"{PREFIX}sms") == 1
    assert channels.count(ANY) <= 2


def test_a_rollback_tells_nobody(conn: psycopg.Connection, ear: Ear) -> None:
    with conn.transaction(force_rollback=True):
        defer(conn)

    assert ear.heard() == []


@pytest.mark.parametrize(
    "queue",
    ["q" * 40, "q" * 41, "é" * 20, "é" * 20 + "q", "🐘" * 128, "a#b", 'say "x"', " "],
    ids=lambda queue: f"{len(queue.encode())} bytes {queue[:4]}",
)
def test_a_queue_of_any_name_has_a_channel(
    conn: psycopg.Connection, connect: Connect, queue: str
) -> None:
    """As in 3.x up to 40 bytes; where 3.x failed it is the hash of the name."""
    channel = one(conn, "select procrastinate_channels_v1(array[%s])", queue)
    ear = Ear(connect(), [channel])

    job = defer(conn, queue)

    assert ear.heard() == [(channel, "job_inserted", job)]
    short = len(queue.encode()) <= 40
    name = queue if short else hashlib.md5(queue.encode(), usedforsecurity=False).hexdigest()
    assert channel == PREFIX + name


def test_a_delayed_job_is_told_of_as_well(conn: psycopg.Connection, ear: Ear) -> None:
    """A sleeping worker must set its alarm for it."""
    job = defer(conn, scheduled_at="2999-01-01Z")

    assert (f"{PREFIX}mail", "job_inserted", job) in ear.heard()


@pytest.mark.parametrize("status", ["doing", "succeeded", "failed", "cancelled", "aborted"])
def test_an_import_of_jobs_that_do_not_wait_tells_nobody(
    conn: psycopg.Connection, ear: Ear, status: str
) -> None:
    defer(conn, status=status)

    assert ear.heard() == []


@pytest.mark.parametrize("status", ["doing", "failed", "succeeded", "cancelled"])
def test_a_job_that_waits_again_is_told_of(
    conn: psycopg.Connection, ear: Ear, status: str
) -> None:
    job = defer(conn, status=status)
    ear.heard()

    conn.execute("update procrastinate_jobs set status = 'todo' where id = %s", [job])

    assert (f"{PREFIX}mail", "job_inserted", job) in ear.heard()


def test_a_retry_by_its_worker_is_told_of(conn: psycopg.Connection, ear: Ear) -> None:
    worker = a_worker(conn)
    job = defer(conn)
    ((_, claim),) = fetch(conn, worker)
    ear.heard()

    conn.execute(
        "select procrastinate_retry_jobs_v1(%s, array[%s], array[%s], null, null, null, null)",
        [worker, job, claim],
    )

    assert (f"{PREFIX}mail", "job_inserted", job) in ear.heard()


def test_a_job_that_was_moved_is_told_of_where_it_went(
    conn: psycopg.Connection, ear: Ear
) -> None:
    job = defer(conn)
    ear.heard()

    conn.execute("update procrastinate_jobs set queue_name = 'sms' where id = %s", [job])

    assert (f"{PREFIX}sms", "job_inserted", job) in ear.heard()


def test_a_job_that_may_run_sooner_is_told_of(conn: psycopg.Connection, ear: Ear) -> None:
    job = defer(conn, scheduled_at="2999-01-01Z")
    ear.heard()

    one(conn, "select procrastinate_reschedule_job(%s, null)", job)

    assert (f"{PREFIX}mail", "job_inserted", job) in ear.heard()


RELEASES = {
    "finish": "update procrastinate_jobs set status = 'succeeded' where id = %s",
    "delete": "delete from procrastinate_jobs where id = %s",
    "other lock": "update procrastinate_jobs set lock = 'other' where id = %s",
    "no lock": "update procrastinate_jobs set lock = null where id = %s",
}


@pytest.mark.parametrize("release", RELEASES.values(), ids=RELEASES)
@pytest.mark.parametrize("met", [True, False], ids=["parked", "never met"])
def test_the_end_of_a_lock_tells_the_queue_of_the_next(
    conn: psycopg.Connection, ear: Ear, release: str, *, met: bool
) -> None:
    """Whatever its state was: a fetch may have met it while the lock's key was held."""
    holder = started(conn, "sms", lock="a lock")
    following = defer(conn, lock="a lock")
    if met:
        assert fetch(conn, a_worker(conn)) == []
    ear.heard()

    conn.execute(release.encode(), [holder])

    assert (f"{PREFIX}mail", "job_inserted", following) in ear.heard()


def test_a_cancelled_head_tells_the_queue_of_the_next(
    conn: psycopg.Connection, ear: Ear
) -> None:
    head = defer(conn, "sms", lock="a lock", scheduled_at="2999-01-01Z")
    following = defer(conn, lock="a lock")
    assert fetch(conn, a_worker(conn)) == []
    ear.heard()

    one(conn, "select procrastinate_cancel_job(%s)", head)

    assert (f"{PREFIX}mail", "job_inserted", following) in ear.heard()


def test_an_exchange_tells_of_the_head_that_it_leaves(
    conn: psycopg.Connection, ear: Ear
) -> None:
    worker = a_worker(conn)
    defer(conn, "sms", lock="a lock")
    ((job, claim),) = fetch(conn, worker)
    following = defer(conn, lock="a lock")
    assert fetch(conn, worker) == []
    ear.heard()

    conn.execute(
        "select procrastinate_finish_and_fetch_v1"
        "(%s, '{sms}', 1, null, array[%s], array[%s], '{succeeded}', null)",
        [worker, job, claim],
    )

    assert (f"{PREFIX}mail", "job_inserted", following) in ear.heard()


def test_an_exchange_that_takes_the_head_itself_tells_nobody(
    conn: psycopg.Connection, ear: Ear
) -> None:
    worker = a_worker(conn)
    defer(conn, lock="a lock")
    ((job, claim),) = fetch(conn, worker)
    defer(conn, lock="a lock")
    assert fetch(conn, worker) == []
    ear.heard()

    conn.execute(
        "select procrastinate_finish_and_fetch_v1"
        "(%s, null, 1, null, array[%s], array[%s], '{succeeded}', null)",
        [worker, job, claim],
    )

    assert ear.heard() == []


def test_a_resumed_queue_is_told(conn: psycopg.Connection, ear: Ear) -> None:
    defer(conn)
    conn.execute("select procrastinate_pause_queue('mail')")
    ear.heard()

    conn.execute("select procrastinate_resume_queue('mail')")

    assert {(channel, kind) for channel, kind, _ in ear.heard()} == {
        (ANY, "job_inserted"),
        (f"{PREFIX}mail", "job_inserted"),
    }


def test_a_recovered_job_is_told_of(conn: psycopg.Connection, ear: Ear) -> None:
    job = started(conn)
    ear.heard()

    conn.execute("select procrastinate_recover_stalled_jobs()")

    assert (f"{PREFIX}mail", "job_inserted", job) in ear.heard()


def test_an_abort_request_tells_the_worker(conn: psycopg.Connection, ear: Ear) -> None:
    job = started(conn)
    ear.heard()

    one(conn, "select procrastinate_abort_job(%s)", job)

    assert sorted(ear.heard()) == [
        (ANY, "abort_job_requested", job),
        (f"{PREFIX}mail", "abort_job_requested", job),
    ]


def test_each_of_many_abort_requests_is_told(conn: psycopg.Connection, ear: Ear) -> None:
    jobs = {started(conn) for _ in range(3)}
    ear.heard()

    conn.execute("update procrastinate_jobs set abort_requested = true where status = 'doing'")

    heard = ear.heard()
    assert {job for _, kind, job in heard if kind == "abort_job_requested"} == jobs


def test_a_cancelled_job_is_nobodys_business(conn: psycopg.Connection, ear: Ear) -> None:
    job = defer(conn)
    ear.heard()

    one(conn, "select procrastinate_cancel_job(%s, true)", job)

    assert ear.heard() == []


def test_a_finish_and_a_change_of_arguments_tell_nobody(
    conn: psycopg.Connection, ear: Ear
) -> None:
    job = started(conn)
    other = defer(conn)
    ear.heard()

    conn.execute("update procrastinate_jobs set status = 'failed' where id = %s", [job])
    conn.execute("update procrastinate_jobs set args = '{\"a\": 1}' where id = %s", [other])

    assert ear.heard() == []
