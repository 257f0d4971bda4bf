-- A row for each job in todo, kept by the triggers of procrastinate_jobs, with what a fetch
-- looks for. As narrow as the work in hand: finished jobs cost it nothing.
--
-- state: r ready since it was deferred, a ready again (fell due, promoted, retried,
-- changed), d delayed, b blocked by its lock. A fetch reads r from a low-water mark and a
-- by arrival: docs/decisions/0003-low-water-marks.md.
create table procrastinate_todo (
    job_id bigint primary key,
    since xid8,  -- transaction that put it where it is, for a row with a lock or in state a
    -- as head of its lock: oldest transaction whose rows were not seen then
    head_xmin xid8,
    free_after bigint,  -- as head of its lock: no claim up to this one holds the lock
    scheduled_at timestamptz,
    priority integer not null,
    state "char" not null,
    queue_name varchar(128) not null,
    lock text,
    queueing_lock text,
    due_lock text  -- lock of a delayed job that does not hold its lock's line back
) with (
    fillfactor = 90,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.2,
    autovacuum_analyze_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off  -- truncation takes an exclusive lock
);

create unique index procrastinate_jobs_queueing_lock_idx_v1
on procrastinate_todo (queueing_lock)
where queueing_lock is not null;

-- job_id + 0, here and in the queries: a generic plan must not take the primary key for the
-- order by id and walk over other queues
create index procrastinate_todo_ready_v1
on procrastinate_todo (queue_name, priority desc, (job_id + 0))
where state = 'r';

create index procrastinate_todo_again_v1
on procrastinate_todo (queue_name, priority desc, (job_id + 0))
where state = 'a';

create index procrastinate_todo_arrivals_v1
on procrastinate_todo (since)
where state = 'a';

create index procrastinate_todo_delayed_v1
on procrastinate_todo (queue_name, scheduled_at)
where state = 'd';

-- ~priority sorts like -priority and cannot overflow
create index procrastinate_todo_lock_v1
on procrastinate_todo (lock, (~priority), job_id)
where lock is not null;

create index procrastinate_todo_lock_since_v1
on procrastinate_todo (lock, since)
where lock is not null;

comment on table procrastinate_todo is
'Derived: one narrow row for each job in todo. Written by triggers and by fetches only.';
