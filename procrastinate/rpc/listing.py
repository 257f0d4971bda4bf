"""
Questions about jobs that no function of the schema answers: plain queries on the tables.

They read what upstream's read, and cost what upstream's cost: a look at every job that the
filters leave. Filters are ANDed, None filters nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from procrastinate.rpc import decode, values
from procrastinate.rpc.call import Call, Function

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from procrastinate import jobs
    from procrastinate.rpc.call import Rows

#: Comes before the id of every job, whatever somebody has inserted.
FIRST_ID = -(2**63)

# All that is put into the texts below are these lists of columns.
_JOB_COLUMNS = ", ".join(f"j.{column}" for column in decode.JOB_COLUMNS)

# A finished job keeps the id of its worker until the sweep comes by. Shown is the worker
# that there is, or none: as 3.x, whose foreign key did that at once.
_JOB_AND_WORKER_COLUMNS = _JOB_COLUMNS.replace("j.worker_id", "w.id as worker_id")

_LIST_JOBS = Function(
    name="list_jobs",
    arguments={
        "id": "bigint",
        "queue_name": "text",
        "task_name": "text",
        "status": "procrastinate_job_status",
        "lock": "text",
        "queueing_lock": "text",
        "worker_id": "bigint",
    },
    columns=decode.JOB_COLUMNS,
    body=f"""
        select {_JOB_AND_WORKER_COLUMNS}
        from procrastinate_jobs as j
        left join procrastinate_workers as w on w.id = j.worker_id
        where (%(id)s::bigint is null or j.id = %(id)s::bigint)
            and (%(queue_name)s::text is null or j.queue_name = %(queue_name)s::text)
            and (%(task_name)s::text is null or j.task_name = %(task_name)s::text)
            and (
                %(status)s::procrastinate_job_status is null
                or j.status = %(status)s::procrastinate_job_status
            )
            and (%(lock)s::text is null or j.lock = %(lock)s::text)
            and (%(queueing_lock)s::text is null or j.queueing_lock = %(queueing_lock)s::text)
            and (%(worker_id)s::bigint is null or w.id = %(worker_id)s::bigint)
        order by j.id
    """,  # noqa: S608
)


def _count_by(name: str, column: str) -> Function:
    return Function(
        name=name,
        arguments={
            "queue_name": "text",
            "task_name": "text",
            "status": "procrastinate_job_status",
            "lock": "text",
        },
        columns=(
            "name",
            "jobs_count",
            "todo",
            "doing",
            "succeeded",
            "failed",
            "cancelled",
            "aborted",
        ),
        body=f"""
            select
                j.{column} as name,
                count(*) as jobs_count,
                count(*) filter (where j.status = 'todo') as todo,
                count(*) filter (where j.status = 'doing') as doing,
                count(*) filter (where j.status = 'succeeded') as succeeded,
                count(*) filter (where j.status = 'failed') as failed,
                count(*) filter (where j.status = 'cancelled') as cancelled,
                count(*) filter (where j.status = 'aborted') as aborted
            from procrastinate_jobs as j
            where j.{column} is not null
                and (%(queue_name)s::text is null or j.queue_name = %(queue_name)s::text)
                and (%(task_name)s::text is null or j.task_name = %(task_name)s::text)
                and (
                    %(status)s::procrastinate_job_status is null
                    or j.status = %(status)s::procrastinate_job_status
                )
                and (%(lock)s::text is null or j.lock = %(lock)s::text)
            group by j.{column}
            order by j.{column}
        """,  # noqa: S608
    )


_LIST_QUEUES = _count_by("list_queues", "queue_name")
_LIST_TASKS = _count_by("list_tasks", "task_name")
_LIST_LOCKS = _count_by("list_locks", "lock")

_GET_JOB_STATUS = Function(
    name="get_job_status",
    arguments={"job_id": "bigint"},
    columns=("status",),
    body="select j.status from procrastinate_jobs as j where j.id = %(job_id)s::bigint",
)

_LIST_JOBS_TO_ABORT = Function(
    name="list_jobs_to_abort",
    arguments={"queue_name": "text"},
    columns=("id",),
    body="""
        select j.id
        from procrastinate_doing as d
        inner join procrastinate_jobs as j on j.id = d.job_id
        where j.abort_requested
            and (%(queue_name)s::text is null or j.queue_name = %(queue_name)s::text)
        order by j.id
    """,
)

_STALLED_BY_HEARTBEAT = Function(
    name="select_stalled_jobs_by_heartbeat",
    arguments={"queue_name": "text", "task_name": "text", "older_than": "interval"},
    columns=decode.JOB_COLUMNS,
    body=f"""
        select {_JOB_COLUMNS}
        from procrastinate_doing as d
        inner join procrastinate_jobs as j on j.id = d.job_id
        left join procrastinate_workers as w on w.id = d.worker_id
        where (
                w.id is null
                or w.last_heartbeat < procrastinate_now() - %(older_than)s::interval
            )
            and (%(queue_name)s::text is null or j.queue_name = %(queue_name)s::text)
            and (%(task_name)s::text is null or j.task_name = %(task_name)s::text)
        order by j.id
    """,  # noqa: S608
)

_STALLED_BY_START = Function(
    name="select_stalled_jobs_by_started",
    arguments={"queue_name": "text", "task_name": "text", "older_than": "interval"},
    columns=decode.JOB_COLUMNS,
    body=f"""
        select {_JOB_COLUMNS}
        from procrastinate_doing as d
        inner join procrastinate_jobs as j on j.id = d.job_id
        where d.started_at < procrastinate_now() - %(older_than)s::interval
            and (%(queue_name)s::text is null or j.queue_name = %(queue_name)s::text)
            and (%(task_name)s::text is null or j.task_name = %(task_name)s::text)
        order by j.id
    """,  # noqa: S608
)

_DELETE_OLD_JOBS = Function(
    name="delete_old_jobs",
    arguments={
        "older_than": "interval",
        "queue_name": "text",
        "statuses": "procrastinate_job_status[]",
        "after_id": "bigint",
        "max_jobs": "integer",
    },
    columns=("deleted", "next_id"),
    # The status is looked at again where the row is deleted: a job that is retried just then
    # is waited for, and stays.
    body="""
        with looked as materialized (
            select j.id
            from procrastinate_jobs as j
            where j.id > %(after_id)s::bigint
            order by j.id
            limit %(max_jobs)s::integer
        ),
        deleted as (
            delete from procrastinate_jobs as j
            where j.status = any(%(statuses)s::procrastinate_job_status[])
                and j.id = any(array(
                    select x.id
                    from procrastinate_jobs as x
                    where x.id > %(after_id)s::bigint
                        and x.id <= (select max(l.id) from looked as l)
                        and x.status = any(%(statuses)s::procrastinate_job_status[])
                        and (
                            %(queue_name)s::text is null
                            or x.queue_name = %(queue_name)s::text
                        )
                        and (
                            select max(e.at) from procrastinate_events as e where e.job_id = x.id
                        ) < procrastinate_now() - %(older_than)s::interval
                    order by x.id
                ))
            returning j.id
        )
        select
            (select count(*) from deleted) as deleted,
            case when count(*) = %(max_jobs)s::integer then max(l.id) end as next_id
        from looked as l
    """,
)


def _counts(rows: Rows) -> list[values.JobCount]:
    return [
        values.JobCount(
            name=row[0],
            jobs_count=row[1],
            todo=row[2],
            doing=row[3],
            succeeded=row[4],
            failed=row[5],
            cancelled=row[6],
            aborted=row[7],
        )
        for row in rows
    ]


def list_jobs(
    *,
    id: int | None = None,  # noqa: A002 (the column's name)
    queue: str | None = None,
    task: str | None = None,
    status: str | None = None,
    lock: str | None = None,
    queueing_lock: str | None = None,
    worker_id: int | None = None,
) -> Call[list[jobs.Job]]:
    """Return the jobs that pass the filters, by id."""
    return Call(
        function=_LIST_JOBS,
        args={
            "id": id,
            "queue_name": queue,
            "task_name": task,
            "status": status,
            "lock": lock,
            "queueing_lock": queueing_lock,
            "worker_id": worker_id,
        },
        decode=decode.all_jobs,
    )


def _count(
    function: Function,
    queue: str | None,
    task: str | None,
    status: str | None,
    lock: str | None,
) -> Call[list[values.JobCount]]:
    return Call(
        function=function,
        args={"queue_name": queue, "task_name": task, "status": status, "lock": lock},
        decode=_counts,
    )


def list_queues(
    *,
    queue: str | None = None,
    task: str | None = None,
    status: str | None = None,
    lock: str | None = None,
) -> Call[list[values.JobCount]]:
    """Count the jobs of each queue, by its name."""
    return _count(_LIST_QUEUES, queue, task, status, lock)


def list_tasks(
    *,
    queue: str | None = None,
    task: str | None = None,
    status: str | None = None,
    lock: str | None = None,
) -> Call[list[values.JobCount]]:
    """Count the jobs of each task, by its name."""
    return _count(_LIST_TASKS, queue, task, status, lock)


def list_locks(
    *,
    queue: str | None = None,
    task: str | None = None,
    status: str | None = None,
    lock: str | None = None,
) -> Call[list[values.JobCount]]:
    """Count the jobs of each lock, by its name; jobs without a lock are left out."""
    return _count(_LIST_LOCKS, queue, task, status, lock)


def get_job_status(*, job_id: int) -> Call[str]:
    """
    Return a job's status.

    Raises
    ------
    exceptions.NoResult
        There is no job with that id.
    """
    return Call(function=_GET_JOB_STATUS, args={"job_id": job_id}, decode=decode.one)


def list_jobs_to_abort(*, queue: str | None = None) -> Call[list[int]]:
    """Return the ids of the jobs in doing, whoever runs them, that are asked to abort."""
    return Call(function=_LIST_JOBS_TO_ABORT, args={"queue_name": queue}, decode=decode.column)


def list_stalled_jobs(
    *,
    older_than: datetime.timedelta,
    queue: str | None = None,
    task: str | None = None,
) -> Call[list[jobs.Job]]:
    """Return the jobs in doing whose worker is gone or has not beaten for so long."""
    return Call(
        function=_STALLED_BY_HEARTBEAT,
        args={"older_than": older_than, "queue_name": queue, "task_name": task},
        decode=decode.all_jobs,
    )


def list_long_running_jobs(
    *,
    older_than: datetime.timedelta,
    queue: str | None = None,
    task: str | None = None,
) -> Call[list[jobs.Job]]:
    """Return the jobs that have been in doing for so long, however well their worker is."""
    return Call(
        function=_STALLED_BY_START,
        args={"older_than": older_than, "queue_name": queue, "task_name": task},
        decode=decode.all_jobs,
    )


def delete_old_jobs(
    *,
    older_than: datetime.timedelta,
    statuses: Sequence[jobs.Status],
    queue: str | None = None,
    after_id: int = FIRST_ID,
    max_jobs: int = 5000,  # a statement of some tenths of a second
) -> Call[values.Deleted]:
    """
    Delete the old ones of these statuses among the next ``max_jobs`` by id: by their last event.

    A pass goes on from its ``next_id`` until that is None.
    """
    return Call(
        function=_DELETE_OLD_JOBS,
        args={
            "older_than": older_than,
            "queue_name": queue,
            "statuses": statuses,
            "after_id": after_id,
            "max_jobs": max_jobs,
        },
        decode=lambda rows: values.Deleted(deleted=rows[0][0], next_id=rows[0][1]),
    )
