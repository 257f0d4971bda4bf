"""
A second opinion on what happened: a row trigger that writes down each change of a job.

The engine derives events, todo and doing from statement triggers; this one is a row trigger,
written for the tests alone, so the two can be compared. Each change also keeps the snapshots
that frame it, from which `order_breaches` tells whether a job overtook another one of its lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

    from tests.python.races import harness

INSTALL = """
create table races_audit (
    seq bigint generated always as identity primary key,
    xid xid8 not null default pg_current_xact_id(),
    -- taken before the statement that made the change began, if its session cared to
    snapshot_before pg_snapshot,
    snapshot_after pg_snapshot not null,
    job_id bigint not null,
    old_status procrastinate_job_status, new_status procrastinate_job_status,
    old_attempts integer, new_attempts integer,
    old_abort boolean, new_abort boolean,
    old_scheduled_at timestamptz, new_scheduled_at timestamptz,
    old_lock text, new_lock text,
    old_priority integer, new_priority integer,
    old_queue text, new_queue text
);

create function races_audit() returns trigger language plpgsql volatile as $body$
begin
    insert into races_audit (
        snapshot_before, snapshot_after, job_id, old_status, new_status, old_attempts,
        new_attempts, old_abort, new_abort, old_scheduled_at, new_scheduled_at, old_lock,
        new_lock, old_priority, new_priority, old_queue, new_queue
    )
    values (
        nullif(current_setting('races.before', true), '')::pg_snapshot,
        pg_current_snapshot(), coalesce(new.id, old.id), old.status, new.status, old.attempts,
        new.attempts, old.abort_requested, new.abort_requested, old.scheduled_at,
        new.scheduled_at, old.lock, new.lock, old.priority, new.priority, old.queue_name,
        new.queue_name
    );
    return null;
end
$body$;

create trigger races_audit after insert or update or delete on procrastinate_jobs
for each row execute function races_audit();
"""

# one's own statement: run before each fetch, apart from it
REMEMBER = "select set_config('races.before', pg_current_snapshot()::text, false)"
FORGET = "select set_config('races.before', '', false)"


def install(connection: psycopg.Connection[harness.Row]) -> None:
    connection.execute(INSTALL)


def _expected(change: harness.Row) -> list[tuple[str, bool]]:
    """The events of one change in their order, each with whether it must be there."""
    old, new = change["old_status"], change["new_status"]
    scheduled = new == "todo" and change["new_scheduled_at"] is not None
    if old is None:
        if new != "todo":
            return []
        return [("scheduled", True)] * scheduled + [("deferred", True)]
    events: list[tuple[str, bool]] = []
    if change["new_abort"] and not change["old_abort"]:
        events.append(("abort_requested", True))
    if scheduled:
        # 3.10 writes one at any update of such a row; it must when it says something new
        news = old != "todo" or change["old_scheduled_at"] != change["new_scheduled_at"]
        events.append(("scheduled", news))
    name = {
        ("todo", "doing"): "started",
        ("doing", "todo"): "deferred_for_retry",
        ("doing", "failed"): "failed",
        ("doing", "succeeded"): "succeeded",
        ("doing", "aborted"): "aborted",
        ("failed", "todo"): "retried",
        ("todo", "cancelled"): "cancelled",
        ("todo", "failed"): "cancelled",
        ("todo", "succeeded"): "cancelled",
    }.get((old, new))
    if name:
        events.append((name, True))
    return events


def event_breaches(connection: psycopg.Connection[harness.Row]) -> list[str]:
    """Jobs whose events do not tell exactly what happened to them."""
    changes: dict[int, list[harness.Row]] = {}
    for row in connection.execute("select * from races_audit order by seq").fetchall():
        changes.setdefault(row["job_id"], []).append(row)
    told: dict[int, list[str]] = {}
    for row in connection.execute(
        "select job_id, type::text as type from procrastinate_events order by job_id, id"
    ).fetchall():
        told.setdefault(row["job_id"], []).append(row["type"])
    breaches: list[str] = []
    for job_id, history in changes.items():
        # of one job, changes are serialised by its row's lock, and seq is taken under it
        if history[-1]["new_status"] is None:
            if job_id in told:
                breaches.append(f"job {job_id} is gone, its events are not: {told[job_id]}")
            continue
        expected = [event for change in history for event in _expected(change)]
        if not _tells(told.get(job_id, []), expected):
            breaches.append(
                f"job {job_id}: events {told.get(job_id, [])}, but what happened was {expected}"
            )
    return breaches


def _tells(told: list[str], expected: list[tuple[str, bool]]) -> bool:
    place = 0
    for name, needed in expected:
        if place < len(told) and told[place] == name:
            place += 1
        elif needed:
            return False
    return place == len(told)


def transition_breaches(connection: psycopg.Connection[harness.Row]) -> list[str]:
    """Changes that the state machine does not know, and attempts that do not add up."""
    rows = connection.execute(
        """
        select a.* from races_audit as a
        where a.old_status is not null and a.new_status is not null and not (
            (a.old_status = a.new_status and a.old_attempts = a.new_attempts)
            or (a.old_status::text, a.new_status::text) in (('todo', 'doing'),
                ('todo', 'cancelled'), ('todo', 'succeeded'), ('todo', 'failed'))
                and a.old_attempts = a.new_attempts
            or (a.old_status::text, a.new_status::text) in (('doing', 'succeeded'),
                ('doing', 'failed'), ('doing', 'aborted'), ('doing', 'todo'))
                and a.new_attempts - a.old_attempts in (0, 1)
            or a.old_status in ('succeeded', 'failed', 'cancelled', 'aborted', 'aborting')
                and a.new_status = 'todo'
        )
        """
    ).fetchall()
    return [f"an illegal change: {row}" for row in rows]


def order_breaches(connection: psycopg.Connection[harness.Row]) -> list[str]:
    """
    Jobs started although another one of their lock surely stood before them (I4).

    Surely: it was in todo, with that lock and a better place, before the fetch began and still
    after it had chosen.
    """
    rows: list[dict[str, Any]] = connection.execute(
        """
        with versions as materialized (
            select a.job_id, a.new_lock as lock, a.new_priority as priority,
                a.new_status as status, a.xid as since,
                lead(a.xid) over (partition by a.job_id order by a.seq) as until
            from races_audit as a
        )
        select s.job_id as started, s.new_lock as lock, s.new_priority as priority,
            v.job_id as passed, v.priority as passed_priority
        from races_audit as s
        inner join versions as v on v.lock = s.new_lock and v.job_id <> s.job_id
            and v.status = 'todo'
            and (v.priority > s.new_priority
                or v.priority = s.new_priority and v.job_id < s.job_id)
        where s.old_status = 'todo' and s.new_status = 'doing' and s.new_lock is not null
            and s.snapshot_before is not null
            and pg_visible_in_snapshot(v.since, s.snapshot_before)
            and (v.until is null
                or v.until <> s.xid and not pg_visible_in_snapshot(v.until, s.snapshot_after))
        """
    ).fetchall()
    return [f"overtaken within its lock: {row}" for row in rows]


DERIVED = """
select 'todo' as relation, j.id, t.job_id, j.status::text as status, t.state::text as state
from (select * from procrastinate_jobs where status = 'todo') as j
full join procrastinate_todo as t on t.job_id = j.id
where (j.id, j.queue_name, j.priority, j.lock, j.queueing_lock, j.scheduled_at)
    is distinct from
    (t.job_id, t.queue_name, t.priority, t.lock, t.queueing_lock, t.scheduled_at)
union all
select 'doing', j.id, d.job_id, j.status::text, null
from (select * from procrastinate_jobs where status = 'doing') as j
full join procrastinate_doing as d on d.job_id = j.id
where (j.id, j.lock, j.worker_id) is distinct from (d.job_id, d.lock, d.worker_id)
union all
select 'doing twice', null, max(d.job_id), d.lock, null
from procrastinate_doing as d
where d.lock is not null
group by d.lock
having count(*) > 1
"""


def derived_breaches(connection: psycopg.Connection[harness.Row]) -> list[str]:
    """I1, looked at without procrastinate_check()."""
    return [f"derived rows: {row}" for row in connection.execute(DERIVED).fetchall()]


def breaches(connection: psycopg.Connection[harness.Row]) -> list[str]:
    return [
        *derived_breaches(connection),
        *event_breaches(connection),
        *transition_breaches(connection),
        *order_breaches(connection),
    ]
