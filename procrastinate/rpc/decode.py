"""How the rows of an answer become its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from procrastinate import exceptions, jobs

if TYPE_CHECKING:
    from procrastinate.rpc.call import Row, Rows

#: The columns that :func:`job_of` reads, in its order.
JOB_COLUMNS = (
    "id",
    "status",
    "queue_name",
    "priority",
    "lock",
    "queueing_lock",
    "task_name",
    "args",
    "scheduled_at",
    "attempts",
    "abort_requested",
    "worker_id",
)


def nothing(rows: Rows) -> None:
    """Read no result: the call only does something."""


def one(rows: Rows) -> Any:
    """
    Read the only column of the only row.

    Raises
    ------
    exceptions.NoResult
        There is no row.
    """
    if not rows:
        raise exceptions.NoResult
    return rows[0][0]


def column(rows: Rows) -> list[Any]:
    """Read the first column of every row."""
    return [row[0] for row in rows]


def pairs(rows: Rows) -> dict[Any, Any]:
    """Read a first column, each value of which has one in the second."""
    return {row[0]: row[1] for row in rows}


def job_of(row: Row) -> jobs.Job:
    """Make a job of a row of :data:`JOB_COLUMNS`."""
    return jobs.Job(
        id=row[0],
        status=row[1],
        queue=row[2],
        priority=row[3],
        lock=row[4],
        queueing_lock=row[5],
        task_name=row[6],
        task_kwargs=row[7],
        scheduled_at=row[8],
        attempts=row[9],
        abort_requested=row[10],
        worker_id=row[11],
    )


def all_jobs(rows: Rows) -> list[jobs.Job]:
    """Make a job of each row of :data:`JOB_COLUMNS`."""
    return [job_of(row) for row in rows]
