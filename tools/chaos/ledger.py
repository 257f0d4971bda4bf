"""
Who held what, as the database had it: written by triggers of the suite's own.

The events of a job do not tell when a claim was given back, nor the numbers of claims. A row
here is part of the transaction that made or ended a claim, or a waiting job's hold of its
queueing lock, so there is one if and only if that was committed. The order is that of a
sequence: what must follow an end can't draw its number before that end was visible.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

SCHEMA = """
create schema chaos;
create table chaos.ledger (
    seq bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    hold text not null, taken boolean not null, job_id bigint not null, claim_id bigint,
    worker_id bigint, value text
);
create function chaos.note() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
    if tg_table_name = 'procrastinate_doing' then
        if tg_op <> 'INSERT' then
            insert into chaos.ledger (hold, taken, job_id, claim_id, worker_id, value)
            values ('claim', false, old.job_id, old.claim_id, old.worker_id, old.lock);
        end if;
        if tg_op <> 'DELETE' then
            insert into chaos.ledger (hold, taken, job_id, claim_id, worker_id, value)
            values ('claim', true, new.job_id, new.claim_id, new.worker_id, new.lock);
        end if;
    elsif tg_op = 'INSERT' then
        insert into chaos.ledger (hold, taken, job_id, value)
        values ('place', true, new.job_id, new.queueing_lock);
    else
        insert into chaos.ledger (hold, taken, job_id, value)
        values ('place', false, old.job_id, old.queueing_lock);
    end if;
    return null;
end;
$$;
create trigger note after insert or delete on procrastinate_doing
for each row execute function chaos.note();
create trigger note_change after update of job_id, claim_id, lock on procrastinate_doing
for each row execute function chaos.note();
create trigger note_new after insert on procrastinate_todo
for each row when (new.queueing_lock is not null) execute function chaos.note();
create trigger note_old after delete on procrastinate_todo
for each row when (old.queueing_lock is not null) execute function chaos.note();
"""


@attrs.frozen(kw_only=True)
class Entry:
    """A hold that began or ended."""

    hold: str
    taken: bool
    job_id: int
    claim_id: int | None = None
    worker_id: int | None = None
    value: str | None = None


@attrs.frozen(kw_only=True)
class Event:
    """A row of procrastinate_events."""

    job_id: int
    type: str
    attempt: int | None = None
    error: str | None = None


@attrs.frozen(kw_only=True)
class Row:
    """A job, as it ended."""

    id: int
    task: str
    status: str
    attempts: int
    token: str
    queueing_lock: str | None = None
    result: Any = None


@attrs.frozen(kw_only=True)
class State:
    """What the database has in the end."""

    jobs: Sequence[Row]
    events: Sequence[Event]
    entries: Sequence[Entry]
    breaches: Sequence[str] = ()
    """What procrastinate_check() says."""


def check(conn: psycopg.Connection[Any]) -> list[str]:
    """Return what procrastinate_check() finds, in words."""
    rows = conn.execute("select breach, job_id, detail from procrastinate_check()").fetchall()
    return [f"{breach} (job {job_id}): {detail}" for breach, job_id, detail in rows]


def read_state(conn: psycopg.Connection[Any]) -> State:
    """Read all of it in one snapshot."""
    with conn.transaction():
        conn.execute("set transaction isolation level repeatable read")
        jobs = conn.execute(
            "select j.id, j.task_name, j.status::text, j.attempts, j.args ->> 'token',"
            " j.queueing_lock, r.result from procrastinate_jobs as j"
            " left join procrastinate_results as r on r.job_id = j.id order by j.id"
        ).fetchall()
        events = conn.execute(
            "select job_id, type::text, attempt, error from procrastinate_events order by id"
        ).fetchall()
        entries = conn.execute(
            "select hold, taken, job_id, claim_id, worker_id, value"
            " from chaos.ledger order by seq"
        ).fetchall()
        breaches = check(conn)
    return State(
        jobs=[
            Row(id=i, task=t, status=s, attempts=a, token=n, queueing_lock=q, result=r)
            for i, t, s, a, n, q, r in jobs
        ],
        events=[Event(job_id=j, type=t, attempt=a, error=e) for j, t, a, e in events],
        entries=[
            Entry(hold=h, taken=t, job_id=j, claim_id=c, worker_id=w, value=v)
            for h, t, j, c, w, v in entries
        ],
        breaches=breaches,
    )
