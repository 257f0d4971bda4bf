"""
All that is known of single jobs, from several tables: plain queries that no function answers.

They are asked by key, by id or page by page, and each look at a job is by an index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from procrastinate import jobs
from procrastinate.rpc import decode, values
from procrastinate.rpc.call import Call, Function

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from procrastinate.rpc.call import Rows

_COLUMNS = (
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
    "worker_name",
    "options",
    "result",
    "error",
    "progress",
    "meta",
    "deferred_at",
    "started_at",
    "ended_at",
    "touched_at",
    "is_expired",
)

_RECORD = """
    select
        j.id, j.status, j.queue_name, j.priority, j.lock, j.queueing_lock, j.task_name, j.args,
        j.scheduled_at, j.attempts, j.abort_requested, j.worker_id, w.name as worker_name,
        _procrastinate_options_of(j) as options,
        r.result,
        case
            -- a job that is to be tried again has no result yet: its history has the error
            when j.status = 'todo' then (
                select e.details from procrastinate_events as e
                where e.job_id = j.id and e.details ? 'class'
                order by e.id desc
                limit 1
            )
            else r.error
        end as error,
        r.progress, r.meta,
        (
            select min(e.at) from procrastinate_events as e
            where e.job_id = j.id and e.type = 'deferred'
        ) as deferred_at,
        s.started_at, s.ended_at, r.updated_at as touched_at,
        coalesce(
            s.ended_at is not null
            and (
                j.ttl < interval '0'
                or (j.ttl > interval '0' and s.ended_at + j.ttl <= procrastinate_now())
            ),
            false
        ) as is_expired
    from procrastinate_jobs as j
    left join procrastinate_workers as w on w.id = j.worker_id
    left join procrastinate_results as r on r.job_id = j.id
    left join lateral (
        select
            max(e.at) filter (where e.type = 'started' and j.status <> 'todo') as started_at,
            max(e.at) filter (
                where e.type in ('succeeded', 'failed', 'cancelled', 'aborted')
                    and j.status not in ('todo', 'doing')
            ) as ended_at
        from procrastinate_events as e
        where e.job_id = j.id
    ) as s on true
"""

_GET_RECORDS = Function(
    name="get_job_records",
    arguments={"job_ids": "bigint[]"},
    columns=_COLUMNS,
    body=f"{_RECORD} where j.id = any(%(job_ids)s::bigint[]) order by j.id",
)
_LIST_RECORDS = Function(
    name="list_job_records",
    arguments={"queue_name": "text", "after_key": "text", "max_jobs": "integer"},
    columns=_COLUMNS,
    body=f"""
        {_RECORD}
        where j.id in (
            select x.id
            from (
                select distinct on (k.key) k.key, k.id, k.queue_name
                from procrastinate_jobs as k
                where k.key is not null and k.key > %(after_key)s::text
                order by k.key, k.id desc
            ) as x
            where x.queue_name = %(queue_name)s::text
            order by x.key
            limit %(max_jobs)s::integer
        )
        order by j.key
    """,  # noqa: S608 (put in are columns)
)
_LIST_OPEN = Function(
    name="list_open_job_records",
    arguments={"queue_name": "text", "skip": "integer", "max_jobs": "integer"},
    columns=_COLUMNS,
    body=f"""
        {_RECORD}
        where j.id in (
            select o.job_id
            from (
                select t.job_id
                from procrastinate_todo as t
                where t.queue_name = %(queue_name)s::text
                union all
                select d.job_id
                from procrastinate_doing as d
                inner join procrastinate_jobs as k on k.id = d.job_id
                where k.queue_name = %(queue_name)s::text
            ) as o
            order by o.job_id
            offset %(skip)s::integer
            limit %(max_jobs)s::integer
        )
        order by j.id
    """,  # noqa: S608 (put in are columns)
)
_COUNT_WAITING = Function(
    name="count_waiting_jobs",
    arguments={"queue_name": "text"},
    columns=("due", "scheduled", "doing"),
    body="""
        select t.due, t.scheduled, d.doing
        from (
            select
                count(*) filter (
                    where (x.scheduled_at > procrastinate_now()) is not true
                ) as due,
                count(*) filter (where x.scheduled_at > procrastinate_now()) as scheduled
            from procrastinate_todo as x
            where x.queue_name = %(queue_name)s::text
        ) as t
        cross join (
            select count(*) as doing
            from procrastinate_doing as x
            inner join procrastinate_jobs as j on j.id = x.job_id
            where j.queue_name = %(queue_name)s::text and not j.abort_requested
        ) as d
    """,
)
_LIST_WORKERS = Function(
    name="list_workers",
    arguments={"queue_name": "text", "silent_for": "interval"},
    columns=("name", "description", "started_at"),
    body="""
        select w.name, w.description, w.started_at
        from procrastinate_workers as w
        where (w.queues is null or %(queue_name)s::text = any(w.queues))
            and w.last_heartbeat > procrastinate_now() - %(silent_for)s::interval
        order by w.id
    """,
)

#: Every function of this module.
FUNCTIONS = (_GET_RECORDS, _LIST_RECORDS, _LIST_OPEN, _COUNT_WAITING, _LIST_WORKERS)


@attrs.frozen(kw_only=True)
class JobRecord:
    """A job, what came of it, and when."""

    job: jobs.Job
    worker_name: str | None
    result: Any
    error: values.ErrorRecord | None
    progress: float | None
    meta: Any
    deferred_at: datetime.datetime | None
    started_at: datetime.datetime | None
    """When the last run began; None if it waits."""
    ended_at: datetime.datetime | None
    touched_at: datetime.datetime | None
    is_expired: bool
    """Whether its result was not to be kept, or has been long enough."""


@attrs.frozen(kw_only=True)
class WaitingCount:
    """Jobs of a queue that have not ended."""

    due: int
    scheduled: int
    doing: int


@attrs.frozen(kw_only=True)
class WorkerRecord:
    """A worker that lives."""

    name: str | None
    description: Any
    started_at: datetime.datetime


_NOW = Function(name="now", body="select procrastinate_now()")


def now() -> Call[datetime.datetime]:
    """Return the time by the clock of the database, which is the only one that counts."""
    return Call(function=_NOW, decode=decode.one)


def get_job_records(*, job_ids: Sequence[int]) -> Call[list[JobRecord]]:
    """Return all that is known of these jobs, by id; of those that are gone, nothing."""
    return Call(function=_GET_RECORDS, args={"job_ids": job_ids}, decode=_records)


def list_job_records(
    *, queue: str, after_key: str = "", max_jobs: int = 100
) -> Call[list[JobRecord]]:
    """Return the next jobs of a queue by key: of each key the latest job."""
    return Call(
        function=_LIST_RECORDS,
        args={"queue_name": queue, "after_key": after_key, "max_jobs": max_jobs},
        decode=_records,
    )


def list_open_job_records(
    *, queue: str, skip: int = 0, max_jobs: int = 10
) -> Call[list[JobRecord]]:
    """Return jobs of a queue that have not ended, by id."""
    return Call(
        function=_LIST_OPEN,
        args={"queue_name": queue, "skip": skip, "max_jobs": max_jobs},
        decode=_records,
    )


def count_waiting_jobs(*, queue: str) -> Call[WaitingCount]:
    """Count the jobs of a queue that are due, that wait for their time, and that run."""
    return Call(
        function=_COUNT_WAITING,
        args={"queue_name": queue},
        decode=lambda rows: WaitingCount(
            due=rows[0][0], scheduled=rows[0][1], doing=rows[0][2]
        ),
    )


def list_workers(*, queue: str, silent_for: datetime.timedelta) -> Call[list[WorkerRecord]]:
    """Return the workers that serve a queue and have beaten within that time."""
    return Call(
        function=_LIST_WORKERS,
        args={"queue_name": queue, "silent_for": silent_for},
        decode=lambda rows: [
            WorkerRecord(name=row[0], description=row[1], started_at=row[2]) for row in rows
        ],
    )


def _records(rows: Rows) -> list[JobRecord]:
    return [_record(dict(zip(_COLUMNS, row, strict=True))) for row in rows]


def _record(row: dict[str, Any]) -> JobRecord:
    job = jobs.Job.from_row(row).evolve(options=jobs.JobOptions.from_json(row["options"]))
    error = row["error"]
    return JobRecord(
        job=job,
        worker_name=row["worker_name"],
        result=row["result"],
        error=None if error is None else values.ErrorRecord.from_json(error),
        progress=row["progress"],
        meta=row["meta"],
        deferred_at=row["deferred_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        touched_at=row["touched_at"],
        is_expired=row["is_expired"],
    )
