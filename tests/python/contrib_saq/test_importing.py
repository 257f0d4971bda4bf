"""Jobs that wait in SAQ's own table come along."""

from __future__ import annotations

import json
import time
from typing import Any

import psycopg
import pytest
from psycopg import sql

from procrastinate.contrib import saq
from procrastinate.contrib.saq import __main__ as command
from procrastinate.contrib.saq import importing
from procrastinate.contrib.saq.queue.postgres import PostgresQueue
from tests.python.contrib_saq.conftest import add, again, drain

TABLE = """
    create table saq_jobs (
        key text primary key, lock_key serial not null, job bytea not null, queue text not null,
        status text not null, priority smallint not null default 0, group_key text,
        scheduled bigint not null default 0, expire_at bigint
    )
"""


def store(
    conn: psycopg.Connection,
    key: str,
    status: str,
    job: dict[str, Any] | bytes,
    *,
    table: str = "saq_jobs",
) -> None:
    payload = job if isinstance(job, bytes) else json.dumps(job).encode()
    insert = sql.SQL("insert into {} (key, job, queue, status) values (%s, %s, 'default', %s)")
    conn.execute(insert.format(sql.Identifier(table)), (key, payload, status))


async def test_waiting_jobs_are_moved_and_what_can_not_be_read_is_listed(
    queue: PostgresQueue, conn: psycopg.Connection, dsn: str
) -> None:
    later = int(time.time()) + 1000
    conn.execute(TABLE)
    store(conn, "now", "queued", {"function": "add", "kwargs": {"a": 1, "b": 2}, "priority": 3})
    store(conn, "later", "queued", {"function": "add", "scheduled": later, "meta": {"m": 1}})
    store(conn, "tried", "queued", {"function": "add", "retries": 3, "attempts": 1})
    store(conn, "taken", "queued", {"function": "add"})
    store(conn, "pickled", "queued", b"\x80\x04N.")
    store(conn, "odd", "queued", {"function": "add", "colour": "red"})
    store(conn, "runs", "active", {"function": "add"})
    store(conn, "over", "complete", {"function": "add"})
    conn.commit()
    await queue.enqueue("add", key="taken", a=7, b=7)

    report = await importing.import_jobs(dsn)

    assert (report.moved, report.running) == (3, 1)
    assert [line.partition(":")[0] for line in sorted(report.unreadable)] == [
        "odd",
        "pickled",
        "taken",
    ]
    left = conn.execute("select key from saq_jobs order by key").fetchall()
    assert [key for (key,) in left] == ["odd", "over", "pickled", "runs", "taken"]
    await drain(queue, add)
    now = await again(queue, "now")
    assert (now.result, now.priority) == (3, 3)
    waiting = await again(queue, "later")
    assert (waiting.status, waiting.scheduled, waiting.meta) == (
        saq.Status.QUEUED, later, {"m": 1}
    )  # fmt: skip
    assert (await again(queue, "tried")).retries == 2


def test_the_command_tells_what_it_has_moved_and_what_it_could_not_read(
    conn: psycopg.Connection, dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    conn.execute(TABLE)
    conn.execute("alter table saq_jobs rename to old_jobs")
    store(conn, "a text", "queued", b'"a function"', table="old_jobs")
    store(conn, "no function", "queued", {"kwargs": {}}, table="old_jobs")
    store(conn, "runs", "active", {"function": "add"}, table="old_jobs")
    conn.commit()

    with pytest.raises(SystemExit) as ended:
        command.main(["import-jobs", dsn, "--table", "old_jobs"])

    assert ended.value.code == 1
    assert capsys.readouterr().out.splitlines() == [
        "0 jobs moved",
        "1 jobs still run in SAQ's workers: let them end",
        "left: a text: ValueError('not a job in JSON')",
        "left: no function: ValueError('not a job in JSON')",
    ]


def test_the_command_succeeds_when_all_that_waits_was_moved(
    conn: psycopg.Connection, dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    conn.execute(TABLE)
    store(conn, "k", "queued", {"function": "add"})
    conn.commit()

    with pytest.raises(SystemExit) as ended:
        command.main(["import-jobs", dsn])

    assert ended.value.code == 0
    assert capsys.readouterr().out == "1 jobs moved\n"
    assert conn.execute("select key from procrastinate_jobs").fetchall() == [("k",)]
