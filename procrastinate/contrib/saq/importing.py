"""Moving the jobs that wait in SAQ's own table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import psycopg
from psycopg import sql

from procrastinate.contrib.saq import rows
from procrastinate.contrib.saq.job import Job
from procrastinate.contrib.saq.queue.postgres import PostgresQueue
from procrastinate.rpc import defers

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Jobs in one transaction.
BATCH = 500

_NEXT = """
    select key, queue, job from {table}
    where status in ('new', 'queued') and key > %s
    order by key
    limit %s
    for update
"""
_MOVED = "delete from {table} where key = any(%s)"
_LEFT = "select count(*) from {table} where status in ('active', 'aborting')"


@attrs.define
class Report:
    """What became of the jobs of a table."""

    moved: int = 0
    unreadable: list[str] = attrs.field(factory=list[str])
    """Those that are left where they were: key and reason."""
    running: int = 0
    """Jobs that SAQ's workers run: left where they are."""

    def __str__(self) -> str:
        """Say it to people."""
        lines = [f"{self.moved} jobs moved"]
        if self.running:
            lines.append(f"{self.running} jobs still run in SAQ's workers: let them end")
        lines += [f"left: {line}" for line in self.unreadable]
        return "\n".join(lines)


async def import_jobs(dsn: str, *, table: str = "saq_jobs") -> Report:
    """
    Move the queued and scheduled jobs of SAQ's table, each in one transaction with its row.

    A job that can't be read, or whose key is taken, is left where it is. Workers of SAQ's may go
    on meanwhile: a row that one of them has locked is waited for.

    Parameters
    ----------
    dsn
        Connection string of the database that has both tables.
    table
        SAQ's table of jobs, in the search path.
    """
    queue = PostgresQueue.from_url(dsn, min_size=1)
    await queue.connect()
    report = Report()
    name = sql.Identifier(table)
    try:
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            after: str | None = ""
            while after is not None:
                async with connection.transaction():
                    after = await _move_some(queue, connection, name, after, report)
            cursor = await connection.execute(sql.SQL(_LEFT).format(table=name))
            counted = await cursor.fetchone()
            report.running = counted[0] if counted else 0
    finally:
        await queue.disconnect()
    return report


async def _move_some(
    queue: PostgresQueue,
    connection: psycopg.AsyncConnection[Any],
    table: sql.Identifier,
    after: str,
    report: Report,
) -> str | None:
    cursor = await connection.execute(sql.SQL(_NEXT).format(table=table), (after, BATCH))
    found = await cursor.fetchall()
    if not found:
        return None
    jobs: list[tuple[Job, str]] = []
    for key, queue_name, payload in found:
        try:
            jobs.append((read(key, payload), queue_name))
        except (ValueError, TypeError, KeyError) as exc:
            report.unreadable.append(f"{key}: {exc!r}")
    moved = await _defer(queue, connection, jobs, report)
    await connection.execute(sql.SQL(_MOVED).format(table=table), (moved,))
    report.moved += len(moved)
    return str(found[-1][0])


async def _defer(
    queue: PostgresQueue,
    connection: psycopg.AsyncConnection[Any],
    jobs: Sequence[tuple[Job, str]],
    report: Report,
) -> list[str]:
    """Insert jobs; return the keys of those that were free."""
    tried = await queue.app.connector.call_async(
        defers.try_defer_jobs_v2(new_jobs=[rows.row_of(job, name) for job, name in jobs]),
        connection=connection,
    )
    moved: list[str] = []
    for (job, _), outcome in zip(jobs, tried, strict=True):
        if outcome.job_id is None:
            report.unreadable.append(
                f"{job.key}: job {outcome.other_job_id} has this key already"
            )
        else:
            moved.append(job.key)
    return moved


def read(key: str, payload: bytes) -> Job:
    """
    Make a job of what SAQ has stored; attempts that were made are taken off those allowed.

    Raises
    ------
    ValueError
        It is not JSON, or not of a job.
    TypeError
        It has fields that no job has.
    """
    stored: Any = json.loads(payload)
    if not isinstance(stored, dict) or "function" not in stored:
        raise ValueError("not a job in JSON")
    fields: dict[str, Any] = {**stored, "key": key}
    fields.pop("queue", None)
    job = Job(**fields)
    job.retries = max(1, job.retries - job.attempts)
    return job
