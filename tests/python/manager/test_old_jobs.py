"""Old jobs are deleted by their age, some at a time."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from procrastinate import App, PsycopgConnector, builtin_tasks, exceptions, jobs
from procrastinate.manager import JobManager
from procrastinate.rpc import listing

MANY = """
insert into procrastinate_jobs (id, queue_name, task_name, status)
select
    n * 7 - 100, 'q', 't',
    (array['succeeded', 'todo', 'failed'])[1 + n % 3]::procrastinate_job_status
from generate_series(1, 12000) as n
"""
HALF_OF_THEM_ENDED = """
insert into procrastinate_events (job_id, type, at)
select id, 'succeeded', now() - interval '3 hours' from procrastinate_jobs where id % 2 = 0
"""
NOTE_DELETIONS = """
create table deletions (transaction xid8, jobs bigint);
create function note() returns trigger language plpgsql as $$
begin
    insert into deletions
    select pg_current_xact_id(), count(*) from gone having count(*) > 0;
    return null;
end $$;
create trigger note after delete on procrastinate_jobs
referencing old table as gone for each statement execute function note();
"""


@pytest.fixture
async def app(dsn: str) -> AsyncIterator[App]:
    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=1))
    async with app.open_async():
        yield app


@pytest.fixture
def verbs(app: App) -> JobManager:
    return app.job_manager


async def defer(verbs: JobManager) -> int:
    new = jobs.Job(queue="q", task_name="t", lock=None, queueing_lock=None)
    job = await verbs.defer_job_async(new)
    assert job.id is not None
    return job.id


async def ended(verbs: JobManager, status: jobs.Status) -> int:
    """Let a job end so."""
    await defer(verbs)
    job = await verbs.fetch_job(None, await verbs.register_worker())
    assert job is not None
    assert job.id is not None
    await verbs.finish_job(job, status, delete_job=False)
    return job.id


def count(conn: psycopg.Connection) -> dict[tuple[str, bool], int]:
    """How many jobs there are, by their status and whether they ended long ago."""
    rows = conn.execute(
        "select status::text, id % 2 = 0, count(*) from procrastinate_jobs group by 1, 2"
    )
    return {(row[0], row[1]): row[2] for row in rows}


async def waits_for_a_lock(conn: psycopg.Connection) -> None:
    """Return when a session of this database waits for another."""
    waiting = """
        select from pg_stat_activity
        where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0
    """
    async with asyncio.timeout(30):  # seconds; it takes milliseconds
        while not await asyncio.to_thread(lambda: conn.execute(waiting).fetchall()):
            pass


async def test_old_jobs_are_deleted_by_their_last_event(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    ends = [jobs.Status.SUCCEEDED, jobs.Status.FAILED, jobs.Status.ABORTED]
    for end in ends:
        await ended(verbs, end)
    await verbs.cancel_job_by_id_async(await defer(verbs))
    conn.execute("update procrastinate_events set at = at - interval '3 hours'")
    await ended(verbs, jobs.Status.SUCCEEDED)

    async def left() -> list[str | None]:
        return [job.status for job in await verbs.list_jobs_async()]

    await verbs.delete_old_jobs(nb_hours=4, include_failed=True)
    assert len(await left()) == 5
    await verbs.delete_old_jobs(nb_hours=2, queue="other")
    assert len(await left()) == 5
    await verbs.delete_old_jobs(nb_hours=2)
    assert await left() == ["failed", "aborted", "cancelled", "succeeded"]
    await verbs.delete_old_jobs(nb_hours=2, include_failed=True)
    assert await left() == ["aborted", "cancelled", "succeeded"]
    await verbs.delete_old_jobs(nb_hours=2, include_cancelled=True)
    assert await left() == ["aborted", "succeeded"]
    await verbs.delete_old_jobs(nb_hours=2, include_aborted=True, queue="q")
    assert await left() == ["succeeded"]


async def test_old_jobs_go_some_at_a_time_however_many_there_are(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    for query in (MANY, HALF_OF_THEM_ENDED, NOTE_DELETIONS):
        conn.execute(query)

    await verbs.delete_old_jobs(nb_hours=2)

    assert count(conn) == {
        (status, is_old): 2000
        for status in ("succeeded", "failed", "todo")
        for is_old in (False, True)
        if (status, is_old) != ("succeeded", True)
    }
    batches = conn.execute("select transaction, sum(jobs) from deletions group by 1").fetchall()
    assert sum(jobs for _, jobs in batches) == 2000
    assert max(jobs for _, jobs in batches) <= 1000  # of 5000 that it looks at


async def test_so_the_task_that_removes_old_jobs_deletes_them(
    app: App, conn: psycopg.Connection
) -> None:
    for query in (MANY, HALF_OF_THEM_ENDED):
        conn.execute(query)
    conn.execute("delete from procrastinate_jobs where status = 'todo'")
    await builtin_tasks.remove_old_jobs.defer_async(max_hours=2, remove_failed=True)

    await app.run_worker_async(wait=False)

    assert count(conn).keys() - {("succeeded", False)} == {("failed", False)}


async def test_a_failure_in_the_middle_keeps_what_was_deleted_before(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    for query in (MANY, HALF_OF_THEM_ENDED):
        conn.execute(query)
    conn.execute("create table own (job_id bigint references procrastinate_jobs (id))")
    conn.execute(
        "insert into own select max(id) from procrastinate_jobs"
        " where id % 2 = 0 and status = 'succeeded'"
    )

    with pytest.raises(exceptions.ConnectorException):
        await verbs.delete_old_jobs(nb_hours=2)

    assert 0 < count(conn)["succeeded", True] < 1000


async def test_an_old_job_is_deleted_wherever_its_id_is_and_one_without_a_history_never(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    for _ in range(3):
        await ended(verbs, jobs.Status.SUCCEEDED)
    conn.execute("update procrastinate_events set at = at - interval '1 day' where job_id = 3")
    conn.execute(
        "insert into procrastinate_jobs (id, queue_name, task_name, status)"
        " values (-5, 'q', 't', 'succeeded'), (9, 'q', 't', 'succeeded')"
    )

    await verbs.delete_old_jobs(nb_hours=2)

    assert [job.id for job in await verbs.list_jobs_async()] == [-5, 1, 2, 9]


async def test_a_job_that_is_retried_as_it_is_to_be_deleted_stays(
    verbs: JobManager, conn: psycopg.Connection, connect: Any
) -> None:
    job_id = await ended(verbs, jobs.Status.FAILED)
    conn.execute("update procrastinate_events set at = at - interval '3 hours'")
    operator = connect(autocommit=False)
    operator.execute("select procrastinate_retry_job(%s)", [job_id])
    deletion = asyncio.create_task(verbs.delete_old_jobs(nb_hours=2, include_failed=True))
    await waits_for_a_lock(conn)
    operator.commit()

    await deletion

    assert await verbs.get_job_status_async(job_id) is jobs.Status.TODO


async def test_a_step_says_where_to_go_on_until_there_is_no_more(
    app: App, conn: psycopg.Connection
) -> None:
    hour = datetime.timedelta(hours=1)
    conn.execute(MANY)
    conn.execute("delete from procrastinate_jobs where id > 0")
    steps: list[int | None] = []
    after: int | None = listing.FIRST_ID
    while after is not None:
        call = listing.delete_old_jobs(
            older_than=hour, statuses=[jobs.Status.SUCCEEDED], after_id=after, max_jobs=5
        )
        after = (await app.connector.call_async(call)).next_id
        steps.append(after)

    assert steps == [-65, -30, None]
