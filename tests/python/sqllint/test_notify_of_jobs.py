"""Who waits for jobs, or watches them, is told of those that keep a result."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

Connect = Callable[..., psycopg.Connection]
ENDED, PROGRESS = "procrastinate_ended_v1", "procrastinate_progress_v1"


@pytest.fixture
def ear(connect: Connect) -> psycopg.Connection:
    connection = connect()
    for channel in (ENDED, PROGRESS):
        connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
    return connection


def heard(ear: psycopg.Connection) -> list[tuple[str, dict[str, Any]]]:
    ear.execute("select 1")
    return [(told.channel, json.loads(told.payload)) for told in ear.notifies(timeout=0)]


def claimed(connection: psycopg.Connection, ttl: str | None, jobs: int = 1) -> dict[str, Any]:
    """Jobs that run, and their worker."""
    connection.execute(
        "select procrastinate_defer_job('q', 't', ttl => %s::interval, max_attempts => 1)"
        " from generate_series(1, %s)",
        [ttl, jobs],
    )
    row = connection.execute("select procrastinate_register_worker_v2()").fetchone()
    assert row is not None
    rows = connection.execute(
        "select job_id, claim_id from procrastinate_fetch_jobs_v1(%s, '{q}', %s)"
        " where outcome = 'claimed' order by 1",
        [row[0], jobs],
    ).fetchall()
    return {"worker": row[0], "jobs": [r[0] for r in rows], "claims": [r[1] for r in rows]}


def finish(connection: psycopg.Connection, run: dict[str, Any]) -> None:
    connection.execute(
        """
        select procrastinate_finish_and_fetch_v2(
            %(worker)s, '{none}', 0, null, %(jobs)s::bigint[], %(claims)s::bigint[],
            array_fill('succeeded'::procrastinate_job_status, array[cardinality(%(jobs)s)]),
            '{}', array_fill('1'::jsonb, array[cardinality(%(jobs)s)]), '{}'
        )
        """,
        run,
    )


@pytest.fixture
def somebody_waits(conn: psycopg.Connection) -> None:
    conn.execute("select procrastinate_announce_ends_v1()")


@pytest.mark.usefixtures("somebody_waits")
def test_the_end_of_a_job_that_keeps_its_result_is_told(
    conn: psycopg.Connection, ear: psycopg.Connection
) -> None:
    run = claimed(conn, "1 min")

    finish(conn, run)

    assert heard(ear) == [(ENDED, {"type": "job_ended", "job_ids": run["jobs"]})]


@pytest.mark.parametrize("since", [None, "1 minute"], ids=["ever", "for a minute"])
def test_while_nobody_has_said_to_wait_nothing_is(
    conn: psycopg.Connection, ear: psycopg.Connection, since: str | None
) -> None:
    if since is not None:
        conn.execute("select procrastinate_announce_ends_v1()")
        conn.execute(
            "update procrastinate_announcements set ends_until = ends_until - %s::interval",
            [since],
        )

    finish(conn, claimed(conn, "1 min"))

    assert heard(ear) == []


def test_who_watches_a_job_has_said_to_wait(
    conn: psycopg.Connection, ear: psycopg.Connection
) -> None:
    run = claimed(conn, "1 min")
    conn.execute("select procrastinate_watch_job(%s)", run["jobs"])

    finish(conn, run)

    assert heard(ear) == [(ENDED, {"type": "job_ended", "job_ids": run["jobs"]})]


def test_a_transaction_that_has_said_it_holds_up_nobody(
    conn: psycopg.Connection, ear: psycopg.Connection
) -> None:
    conn.execute("insert into procrastinate_announcements (ends_until) values (now())")
    with ear.transaction():
        ear.execute("select procrastinate_announce_ends_v1()")
        conn.execute("set statement_timeout = '10 s'")
        said = conn.execute("select procrastinate_announce_ends_v1()").fetchone()
    assert said == (None,)


def test_with_an_old_snapshot_nothing_is_said(conn: psycopg.Connection) -> None:
    conn.execute("begin isolation level repeatable read")
    said = conn.execute("select procrastinate_announce_ends_v1()").fetchone()
    assert said == (None,)


@pytest.mark.usefixtures("somebody_waits")
@pytest.mark.parametrize("ttl", [None, "-1 s"])
def test_the_end_of_another_is_not(
    conn: psycopg.Connection, ear: psycopg.Connection, ttl: str | None
) -> None:
    finish(conn, claimed(conn, ttl))

    assert heard(ear) == []


@pytest.mark.usefixtures("somebody_waits")
def test_a_failure_for_good_is_told_too(
    conn: psycopg.Connection, ear: psycopg.Connection
) -> None:
    run = claimed(conn, "0")

    conn.execute(
        "select procrastinate_fail_jobs_v1("
        "%(worker)s, %(jobs)s::bigint[], %(claims)s::bigint[], '{}', '{}')",
        run,
    )

    assert heard(ear) == [(ENDED, {"type": "job_ended", "job_ids": run["jobs"]})]


@pytest.mark.usefixtures("somebody_waits")
def test_of_many_jobs_all_are_told_in_as_few_as_have_room(
    conn: psycopg.Connection, ear: psycopg.Connection
) -> None:
    run = claimed(conn, "0", jobs=700)

    finish(conn, run)

    told = heard(ear)
    assert [channel for channel, _ in told] == [ENDED] * 3
    assert sorted(job for _, payload in told for job in payload["job_ids"]) == run["jobs"]


def test_progress_is_told_of_jobs_that_told_any(
    conn: psycopg.Connection, ear: psycopg.Connection
) -> None:
    run = claimed(conn, None, jobs=2)

    conn.execute(
        "select procrastinate_update_jobs_v1("
        "%(worker)s, %(jobs)s::bigint[], %(claims)s::bigint[], '{0.5,null}', '{}')",
        run,
    )

    assert heard(ear) == [(PROGRESS, {"type": "job_progress", "job_ids": run["jobs"][:1]})]
