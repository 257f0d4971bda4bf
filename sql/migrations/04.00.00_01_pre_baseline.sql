-- Procrastinate migration 04.00.00_01_pre_baseline
--
-- By hand: psql -1 -v ON_ERROR_STOP=1 -f 04.00.00_01_pre_baseline.sql

-- Seen by the next statement only if both run in one transaction.
do $$
begin
    perform set_config('procrastinate.one_transaction', 'yes', true);
end;
$$;

-- Nothing can be created from here until the next block has agreed, not even by a client
-- that goes on after an error.
do $$
declare
    v_local boolean := coalesce(
        current_setting('procrastinate.one_transaction', true) = 'yes', false
    );
begin
    perform
        set_config('procrastinate.target_schema', coalesce(current_schema(), ''), v_local),
        set_config('procrastinate.caller_path', current_setting('search_path'), v_local);
    perform set_config('search_path', '', v_local);
end;
$$;

-- Every name below is meant in this one schema, and "set search_path from current" freezes
-- that into each function; pg_temp is last, so that no temporary table takes a name over.
do $$
declare
    v_local boolean := coalesce(
        current_setting('procrastinate.one_transaction', true) = 'yes', false
    );
    v_schema text := current_setting('procrastinate.target_schema');
    v_there text[];
begin
    if v_schema = '' or v_schema ^@ 'pg_' then
        raise exception 'no schema has been selected to create in'
            using errcode = '3F000',
                detail = 'search_path: ' || current_setting('procrastinate.caller_path'),
                hint = 'Name an existing schema first in search_path.';
    end if;
    perform set_config('search_path', quote_ident(v_schema) || ', pg_temp', v_local);

    -- Whoever installs or migrates this schema at the same time waits here for our end.
    perform pg_advisory_xact_lock(hashtext('procrastinate_migrations'), hashtext(v_schema));

    -- Read from the catalogue: to_regclass would answer what this session remembers from
    -- before the wait.
    select coalesce(array_agg(c.relname::text), '{}') into v_there
    from pg_class as c
    where
        c.relnamespace = quote_ident(v_schema)::regnamespace
        and c.relname ~ '^procrastinate_';

    -- unless it adopts
    if 'procrastinate_jobs' = any(v_there) and 'procrastinate_migrations' <> all(v_there)
    then
        raise exception 'schema "%" holds the tables of procrastinate 3.x', v_schema
            using errcode = 'PQ008',
                detail = 'procrastinate_jobs exists, procrastinate_migrations does not.',
                hint = 'Run procrastinate schema --migrate: it adopts them, with all jobs.';
    end if;
    declare
        v_applied text[] := '{}';
    begin
        if 'procrastinate_migrations' = any(v_there) then
            v_applied := array(select m.name from procrastinate_migrations as m);
        end if;
        if '04.00.00_01_pre_baseline' = any(v_applied) then
            raise exception 'migration 04.00.00_01_pre_baseline was already applied'
                using errcode = 'PQ008';
        end if;
    end;
end;
$$;

-- The statuses of a job, with the labels of 3.x in their order.
create type procrastinate_job_status as enum (
    'todo',
    'doing',
    'succeeded',
    'failed',
    'cancelled',
    'aborting',  -- of 2.x: nothing writes it, old rows may hold it
    'aborted'
);

comment on type procrastinate_job_status is
'Status of a job. aborting is a legacy label that nothing writes any more.';

-- What can happen to a job, with the labels of 3.x in their order.
create type procrastinate_job_event_type as enum (
    'deferred',
    'started',
    'deferred_for_retry',
    'failed',
    'succeeded',
    'cancelled',
    'abort_requested',
    'aborted',
    'scheduled',
    'retried'
);

comment on type procrastinate_job_event_type is
'Kind of an event in the history of a job.';

-- One job to defer, in the order of columns that clients of 3.x send.
create type procrastinate_job_to_defer_v1 as (
    queue_name varchar,
    task_name varchar,
    priority integer,
    lock text,
    queueing_lock text,
    args jsonb,
    scheduled_at timestamptz
);

comment on type procrastinate_job_to_defer_v1 is
'One job to defer: an array of these is the argument of procrastinate_defer_jobs.';

-- A row of the answer to a worker: a claimed job, an end that changed nothing, or, last and
-- always there, the summary.
create type procrastinate_exchange_v1 as (
    outcome text,
    job_id bigint,
    claim_id bigint,
    status procrastinate_job_status,
    queue_name varchar,
    task_name varchar,
    priority integer,
    lock text,
    queueing_lock text,
    args jsonb,
    scheduled_at timestamptz,
    attempts integer,
    abort_requested boolean,
    next_due_in double precision,
    contended boolean,
    more boolean,
    marks bigint[],
    options jsonb
);

comment on type procrastinate_exchange_v1 is
'A row of the answer of fetch_jobs and finish_and_fetch: '
'outcome claimed, not_held or summary.';

-- The row that procrastinate_fetch_job_v2 returns: what clients of 3.x read, and no more.
-- It is not the table's, for a column that came to the table would end each worker that
-- waits in a fetch: docs/decisions/0135-a-row-for-the-old-fetch.md. The lengths are those
-- of the columns: a statement that was prepared before an adoption holds after it.
create type procrastinate_fetched_job_v2 as (
    id bigint,
    queue_name varchar(128),
    task_name varchar(128),
    priority integer,
    lock text,
    queueing_lock text,
    args jsonb,
    status procrastinate_job_status,
    scheduled_at timestamptz,
    attempts integer,
    abort_requested boolean,
    worker_id bigint
);

comment on type procrastinate_fetched_job_v2 is
'The job that procrastinate_fetch_job_v2 returns: the columns that 3.x has.';

-- A row for each worker that is alive, or was until its heartbeat stopped.
create table procrastinate_workers (
    id bigint generated always as identity primary key,
    last_heartbeat timestamptz not null default now(),
    name text,
    queues text[],
    description jsonb not null default '{}',
    started_at timestamptz not null default now(),
    quiet boolean not null default false
) with (fillfactor = 50);  -- each heartbeat is a HOT update: last_heartbeat is in no index

-- whoever writes a job looks here, for one that is not quiet first
create index procrastinate_workers_quiet_v1
on procrastinate_workers (quiet);

comment on table procrastinate_workers is
'One row for each registered worker; a heartbeat too old means that it is stalled.';
comment on column procrastinate_workers.last_heartbeat is
'When the worker last said that it lives, by the clock of the database.';
comment on column procrastinate_workers.name is 'Name given to the worker, if any.';
comment on column procrastinate_workers.queues is
'Queues that it serves, and is told of; null: all of them.';
comment on column procrastinate_workers.description is
'What the worker says of itself: version, host, process, concurrency.';
comment on column procrastinate_workers.started_at is 'When the worker registered.';
comment on column procrastinate_workers.quiet is
'Whether it looks for jobs by itself just now: only workers that do not are notified.';

-- The truth: one row a job. What changes while a job runs is in no index, so that each
-- transition is a HOT update: see docs/decisions/0002-hot-jobs-narrow-queues.md.
create table procrastinate_jobs (
    id bigserial primary key,
    queue_name varchar(128) not null,
    task_name varchar(128) not null,
    priority integer not null default 0,
    lock text,
    queueing_lock text,
    args jsonb not null default '{}',
    status procrastinate_job_status not null default 'todo',
    scheduled_at timestamptz,
    attempts integer not null default 0,
    abort_requested boolean not null default false,
    worker_id bigint,
    timeout interval,
    heartbeat interval,
    ttl interval,
    max_attempts integer,
    retry_delay interval,
    retry_backoff double precision,
    retry_delay_cap interval,
    retry_jitter boolean,
    key text,
    group_key text,
    trace_context jsonb,
    keep_result boolean
-- room for two more versions of each row, for the first can't be pruned as long as anybody
-- looks on: docs/decisions/0078-room-for-two-more-versions.md
) with (fillfactor = 33);

-- what it says does not change while a job lives, so updates stay HOT
create index procrastinate_jobs_key_v1 on procrastinate_jobs (key, id)
where key is not null;

comment on table procrastinate_jobs is
'Every job. Change it by the functions, or by plain statements: triggers keep the rest '
'true.';
comment on column procrastinate_jobs.queue_name is 'Queue whose workers run the job.';
comment on column procrastinate_jobs.task_name is 'Task to run.';
comment on column procrastinate_jobs.priority is 'Higher runs first.';
comment on column procrastinate_jobs.lock is
'At most one job of a lock runs at a time, and they run in order of priority, then id.';
comment on column procrastinate_jobs.queueing_lock is
'At most one job of a queueing lock waits at a time.';
comment on column procrastinate_jobs.args is 'Arguments of the task: a JSON object.';
comment on column procrastinate_jobs.scheduled_at is 'Not before this time; null: at once.';
comment on column procrastinate_jobs.attempts is 'Runs that have ended.';
comment on column procrastinate_jobs.abort_requested is
'The running job was asked to abort.';
comment on column procrastinate_jobs.worker_id is
'Worker that runs or ran the job; null once that worker is gone.';
comment on column procrastinate_jobs.timeout is
'How long one run may take; null: as long as it likes.';
comment on column procrastinate_jobs.heartbeat is
'How often the running job must show life; null: never.';
comment on column procrastinate_jobs.ttl is
'How long its result is kept after its end: zero for ever, null or less not at all.';
comment on column procrastinate_jobs.max_attempts is
'Runs allowed in all, if its data decides about retries; null: its worker does.';
comment on column procrastinate_jobs.retry_delay is 'Delay before the first retry.';
comment on column procrastinate_jobs.retry_backoff is
'Factor by which the delay grows with each retry.';
comment on column procrastinate_jobs.retry_delay_cap is 'Longest delay.';
comment on column procrastinate_jobs.retry_jitter is
'Whether a delay is drawn at random up to its length.';
comment on column procrastinate_jobs.key is 'Unique while the job waits or runs.';
comment on column procrastinate_jobs.group_key is
'At most one job of a group and queue runs at a time: its lock is the group''s.';
comment on column procrastinate_jobs.trace_context is
'Trace that the job belongs to (W3C trace context). Unused so far.';
comment on column procrastinate_jobs.keep_result is
'Whether its result outlives the job, where jobs are deleted.';

-- The history: append only, written by the triggers of procrastinate_jobs.
--
-- The primary key serves both the rows of a job and their order, for the price of one
-- index.
create table procrastinate_events (
    id bigserial not null,
    job_id bigint not null,
    type procrastinate_job_event_type,
    at timestamptz default now(),
    attempt integer,
    by_worker_id bigint,  -- not worker_id: queries of 3.x join jobs and name that bare
    error text,
    details jsonb,
    primary key (job_id, id)
);

comment on table procrastinate_events is
'What happened to each job, in the order of id.';
comment on column procrastinate_events.at is
'When it happened; of a scheduled event, the time that the job is scheduled at.';
comment on column procrastinate_events.attempt is
'Number of runs that had ended when it happened.';
comment on column procrastinate_events.by_worker_id is 'Worker that ran the job, if any.';
comment on column procrastinate_events.error is 'Why, in a line.';
comment on column procrastinate_events.details is
'Of an attempt that failed: class, message, traceback and attempt.';

-- The last tick of each periodic task: what makes it deferred once, however many workers.
create table procrastinate_periodic_defers (
    id bigserial primary key,
    task_name varchar(128) not null,
    defer_timestamp bigint,
    job_id bigint,
    periodic_id varchar(128) not null default '',
    earlier bigint[] not null default '{}',
    constraint procrastinate_periodic_defers_unique unique (
        task_name, periodic_id, defer_timestamp
    )
);

create index procrastinate_periodic_defers_job_id_fkey_v1
on procrastinate_periodic_defers (job_id);

comment on table procrastinate_periodic_defers is
'Last tick of each periodic task that was deferred, with its job.';
comment on column procrastinate_periodic_defers.defer_timestamp is
'The tick, in seconds since the epoch.';
comment on column procrastinate_periodic_defers.job_id is
'Job of that tick; null once the job is deleted.';
comment on column procrastinate_periodic_defers.earlier is
'The ticks before it that were deferred, the newest first: they are not deferred again.';

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

-- A row for each job in doing, kept by the triggers of procrastinate_jobs.
--
-- The index on lock holds the claim as well: a lock that is taken a thousand times a minute
-- leaves dead entries that an old snapshot keeps from vacuum, and a unique index on lock
-- alone would read them all at each claim. Exclusion comes from the advisory lock of the
-- lock's value, taken by whoever writes here: docs/decisions/0004-locks.md.
create sequence procrastinate_claims_seq as bigint;

create table procrastinate_doing (
    job_id bigint primary key,
    claim_id bigint not null default nextval('procrastinate_claims_seq'),
    worker_id bigint,
    head_xmin xid8,
    started_at timestamptz not null default now(),
    deadline_at timestamptz,
    heartbeat_at timestamptz,
    priority integer not null,
    lock text
) with (
    fillfactor = 90,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.2,
    autovacuum_analyze_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off
);

alter sequence procrastinate_claims_seq owned by procrastinate_doing.claim_id;

create unique index procrastinate_jobs_lock_idx_v1
on procrastinate_doing (lock, claim_id)
where lock is not null;

comment on sequence procrastinate_claims_seq is
'Numbers of claims: what fences a late finish.';
comment on column procrastinate_doing.deadline_at is
'When the run has taken as long as it may.';
comment on column procrastinate_doing.heartbeat_at is
'By when the run must have shown life.';
comment on table procrastinate_doing is
'Derived: one narrow row for each job in doing, with the claim that its worker holds.';

-- What a job leaves besides its status: a row for each job that has any of it.
create table procrastinate_results (
    job_id bigint primary key,
    result jsonb,
    error jsonb,
    progress double precision,
    meta jsonb,
    updated_at timestamptz,
    expires_at timestamptz,
    status procrastinate_job_status  -- how the job ended, for a result that outlives it
);

create index procrastinate_results_expires_at_v1
on procrastinate_results (expires_at)
where expires_at is not null;

comment on table procrastinate_results is
'Result, last error, progress and meta of the jobs that have any.';

-- Keys of jobs that wait or run, where they were given one.
create table procrastinate_keys (
    key text primary key,
    job_id bigint not null unique
);

comment on table procrastinate_keys is
'Derived: unique keys of jobs in todo and doing.';

-- Settings of the queues that were given any. A queue needs no row to exist.
create table procrastinate_queues (
    queue_name varchar(128) primary key,
    paused_at timestamptz,
    pause_reason text,
    paused_until timestamptz
);

comment on table procrastinate_queues is
'Settings of queues: a queue with paused_at is not fetched from until paused_until.';

-- The priorities that each queue has ever used, which a fetch walks from the highest down.
-- Not unique on purpose: two first users of a priority must not wait for each other.
-- A null priority says that the queue has used too many to list.
create table procrastinate_priorities (
    id bigint generated always as identity primary key,
    queue_name varchar(128) not null,
    priority integer
);

create index procrastinate_priorities_queue_v1
on procrastinate_priorities (queue_name, priority);

comment on table procrastinate_priorities is
'Priorities that each queue has used: where a fetch looks. Written by the insert trigger.';

-- How many finished jobs each queue has, as deltas that each statement appends and the
-- sweep folds: nobody waits for anybody's counter.
create table procrastinate_counts (
    queue_name varchar(128) not null,
    status procrastinate_job_status not null,
    jobs bigint not null
);

-- no index: a row is appended by each statement and found by none
alter table procrastinate_counts replica identity full;

comment on table procrastinate_counts is
'Changes of the number of finished jobs, by queue and status; their sum is the number.';

-- Each migration that was applied, or that a fresh install stands for.
create table procrastinate_migrations (
    name text primary key,
    sha256 text not null,
    applied_at timestamptz not null default now(),
    applied_by text not null default current_user
);

comment on table procrastinate_migrations is
'Migrations that made this schema, with the hash of each file.';

-- Where the sweep has come to: one row, that whoever sweeps has locked. Others leave it be.
create table procrastinate_sweep (
    id integer primary key default 1 check (id = 1),
    last_job_id bigint not null default 0,
    last_lock text  -- null: start with the first
) with (fillfactor = 50);

comment on table procrastinate_sweep is
'Where the sweep has come to: last job looked at for a worker that is gone, and last lock.';

-- Until when the ends of jobs are announced: one row, of all who wait. A transaction that
-- notifies holds up all others that commit, and mostly nobody waits.
create table procrastinate_announcements (
    id integer primary key default 1 check (id = 1),
    ends_until timestamptz not null
) with (fillfactor = 50);

comment on table procrastinate_announcements is
'Until when ends of jobs are announced, because somebody waits for some.';

-- Keys for "all locks": p_which 0 is shared by whoever takes single keys, 1 announces a
-- bulk.
create function _procrastinate_all_locks_key(p_which integer)
returns bigint
language sql immutable strict parallel safe
return hashtextextended(
    '', 'procrastinate_jobs'::regclass::oid::bigint + 4294967296 * (p_which + 1)
);

comment on function _procrastinate_all_locks_key(integer) is
'Advisory key for all locks at once (0), or for the wish to have it (1).';

-- Tells the queues of waiting jobs that something changed, and running jobs to abort.
create function _procrastinate_announce(p_waiting bigint[], p_aborting bigint[])
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_row record;
begin
    for v_row in
        select j.queue_name, j.priority, min(j.id) as job_id
        from procrastinate_jobs as j
        where j.id = any(p_waiting) and j.status = 'todo'
        group by j.queue_name, j.priority
    loop
        perform _procrastinate_tell(v_row.queue_name, v_row.priority, v_row.job_id);
    end loop;
    for v_row in
        select j.queue_name, j.id as job_id
        from procrastinate_jobs as j
        where j.id = any(p_aborting)
        order by j.id
    loop
        perform _procrastinate_notify(
            v_row.queue_name, 'abort_job_requested', v_row.job_id
        );
    end loop;
end;
$$;

comment on function _procrastinate_announce(bigint[], bigint[]) is
'Tells of jobs that were put back or moved, and NOTIFYs of running ones asked to abort.';

-- Where a walk by id over old jobs may end: this job and the hundredth before it were both
-- deferred since, so that neither they nor, as ids grow with time, any after them has ended
-- before.
create function _procrastinate_are_young(p_job_id bigint, p_since timestamptz)
returns boolean
language plpgsql stable parallel safe
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = on  -- the caller has it off, which would read all events here
set jit = off
as $$
begin
    return not exists (
        select
        from unnest(array[p_job_id, (
            select j.id
            from procrastinate_jobs as j
            where j.id < p_job_id
            order by j.id desc
            offset 99
            limit 1
        )]) as x (id)
        where not exists (
            select
            from procrastinate_events as e
            where e.job_id = x.id and e.type = 'deferred' and e.at >= p_since
        )
    );
end;
$$;

comment on function _procrastinate_are_young(bigint, timestamptz) is
'Whether this job and the hundredth before it were both deferred since.';

-- todo -> cancelled or gone, doing asked to abort: the common part of the front door and
-- the old wire. Returns the job, or null where it does not apply.
create function _procrastinate_cancel(p_job_id bigint, p_abort boolean, p_delete boolean)
returns bigint
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_id bigint;
begin
    if p_delete then
        delete from procrastinate_jobs as j
        where j.id = p_job_id and j.status = 'todo'
        returning j.id into v_id;
    end if;
    if v_id is null and p_abort then
        update procrastinate_jobs as j
        set
            abort_requested = true,
            status = case
                when j.status = 'todo' then 'cancelled'::procrastinate_job_status
                else j.status
            end
        where j.id = p_job_id and j.status in ('todo', 'doing')
        returning j.id into v_id;
    elsif v_id is null then
        update procrastinate_jobs as j
        set status = 'cancelled'
        where j.id = p_job_id and j.status = 'todo'
        returning j.id into v_id;
    end if;
    return v_id;
end;
$$;

comment on function _procrastinate_cancel(bigint, boolean, boolean) is
'todo -> cancelled or gone, doing: abort asked; the job, or null where it does not apply.';

-- todo -> cancelled (or gone), doing asked to abort: for many jobs, an outcome for each.
--
-- Order: rows of the jobs by id, those that others hold left out -> the keys of their locks
-- -> todo and doing, in the triggers.
create function _procrastinate_cancel_many(
    p_job_ids bigint[], p_abort boolean, p_delete boolean
)
returns table (job_id bigint, outcome text)
language plpgsql volatile parallel unsafe
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_todo bigint[];
    v_doing bigint[] := array[]::bigint[];
begin
    if p_delete then  -- not those that a user's foreign key check holds: it would wait
        v_todo := array(
            select j.id
            from procrastinate_jobs as j
            where j.id = any(p_job_ids) and j.status = 'todo'
            order by j.id
            for update skip locked
        );
    else
        v_todo := array(
            select j.id
            from procrastinate_jobs as j
            where j.id = any(p_job_ids) and j.status = 'todo'
            order by j.id
            for no key update skip locked
        );
    end if;
    if p_abort then
        v_doing := array(
            select j.id
            from procrastinate_jobs as j
            where j.id = any(p_job_ids) and j.status = 'doing'
            order by j.id
            for no key update skip locked
        );
    end if;
    perform _procrastinate_lock_jobs(v_todo || v_doing, '{}');

    if p_delete then
        delete from procrastinate_jobs as j where j.id = any(v_todo);
    end if;
    update procrastinate_jobs as j
    set
        abort_requested = p_abort,
        status = case
            when j.status = 'todo' then 'cancelled'::procrastinate_job_status
            else j.status
        end
    where j.id = any(v_todo || v_doing) and j.status in ('todo', 'doing');

    return query
    select
        n.id,
        case
            when n.id = any(v_doing) then 'abort_requested'
            when n.id <> all(v_todo) then 'busy'
            when p_delete then 'deleted'
            else 'cancelled'
        end
    from unnest(p_job_ids) as n (id)
    order by n.id;
end;
$$;

comment on function _procrastinate_cancel_many(bigint[], boolean, boolean) is
'todo -> cancelled or gone, doing: abort asked; for many jobs, an outcome for each.';

-- A trigger of a user's has made something else of jobs that were to start or to end:
-- another status, another lock, or nothing at all. What is derived then follows from the
-- jobs as they are; where it does so already, a trigger of ours has been there.
create function _procrastinate_changed_otherwise(
    p_job_ids bigint[], p_from procrastinate_job_status
)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_ids bigint[];
    v_new procrastinate_job_status[];
    v_queues text[];
begin
    select array_agg(j.id), array_agg(j.status), array_agg(j.queue_name)
    into v_ids, v_new, v_queues
    from (
        select x.id, x.status, x.queue_name, x.lock
        from procrastinate_jobs as x
        where x.id = any(p_job_ids)
        offset 0
    ) as j
    where
        exists (
            select
            from procrastinate_todo as t
            where
                t.job_id = j.id
                and (j.status <> 'todo' or t.lock is distinct from j.lock)
        )
        or exists (
            select
            from procrastinate_doing as d
            where
                d.job_id = j.id
                and (j.status <> 'doing' or d.lock is distinct from j.lock)
        );
    if v_ids is null then
        return false;
    end if;
    return _procrastinate_jobs_changed(
        v_ids,
        array_fill(p_from, array[cardinality(v_ids)]),
        v_new,
        array_fill(false, array[cardinality(v_ids)]),
        v_queues,
        '{}'
    );
end;
$$;

comment on function _procrastinate_changed_otherwise(bigint[], procrastinate_job_status) is
'Derives anew what a user''s trigger has made of jobs that were to start or to end.';

-- The channel of a queue. A channel's name has at most 63 bytes, 23 of which are the
-- prefix: a longer queue is announced under the hash of its name
-- (docs/decisions/0006-notify.md).
create function _procrastinate_channel(p_queue_name text)
returns text
language sql immutable strict parallel safe
return 'procrastinate_queue_v1#' || case
    when octet_length(p_queue_name) <= 40 then p_queue_name else md5(p_queue_name)
end;

comment on function _procrastinate_channel(text) is
'NOTIFY channel of a queue: its name, or the hash of a name over 40 bytes.';

-- Arguments of a task have names, so they are an object. They are as large as a worker
-- takes in one message, and as deep as json of any language reads: Python's stops short
-- of 1000. Whoever is near neither is not looked at further: 500 levels have 4000 bytes.
create function _procrastinate_check_args(p_args jsonb)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_size constant bigint := pg_column_size(p_args || '{}');  -- not as it was compressed
    v_most bigint;
begin
    if p_args is not null and jsonb_typeof(p_args) <> 'object' then
        perform _procrastinate_raise('PQ003',
            format('The arguments of a job are a JSON object, not %s',
                jsonb_typeof(p_args)),
            null, 'Give named arguments, such as {"order_id": 42}.');
    end if;
    if v_size <= 4096 then
        return;
    end if;
    v_most := _procrastinate_max_args_size();
    if v_size > v_most then
        perform _procrastinate_raise('PQ003',
            format('The arguments of a job have %s bytes: at most %s are allowed', v_size,
                v_most),
            null,
            'Store the data and give its key, or set procrastinate.max_args_size for the '
            'database.');
    end if;
    if jsonb_path_exists(p_args, '$.**{501}') then
        perform _procrastinate_raise('PQ003',
            'The arguments of a job are nested deeper than 500 levels', null,
            'Give them in a flat form, or as a string of JSON.');
    end if;
end;
$$;

comment on function _procrastinate_check_args(jsonb) is
'Raises PQ003 for arguments that are no JSON object, too large or nested too deep.';

-- – -> todo for jobs in parallel arrays. Bad ones are refused by name before any is
-- written.
create function _procrastinate_check_jobs(
    p_queue_names text[],
    p_task_names text[],
    p_args jsonb[],
    p_lengths integer[] default '{}'
)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_job record;
    v_most constant integer := 1000000;  -- some seconds, and a gigabyte of memory
begin
    if cardinality(p_queue_names) <> cardinality(p_task_names)
        or cardinality(p_queue_names) < any(p_lengths || cardinality(p_args))
    then
        perform _procrastinate_raise('PQ003', 'The arrays of jobs differ in length',
            format('%s queue names, %s task names.', cardinality(p_queue_names),
                cardinality(p_task_names)),
            'Give a queue and a task for each job; the other arrays may be shorter.');
    end if;
    if cardinality(p_queue_names) > v_most then
        perform _procrastinate_raise('PQ003',
            format('There are %s jobs to defer: at most %s in one call',
                cardinality(p_queue_names), v_most),
            null, 'Defer them in several calls.');
    end if;
    for v_job in
        select u.queue_name, u.task_name, u.args
        from unnest(p_queue_names, p_task_names, p_args) as u (queue_name, task_name, args)
        where
            coalesce(length(u.queue_name), 0) not between 1 and 128
            or coalesce(length(u.task_name), 0) not between 1 and 128
            or jsonb_typeof(u.args) <> 'object'
            or pg_column_size(u.args) > 4096  -- which no array keeps toasted
    loop
        perform _procrastinate_check_text(v_job.queue_name, 'queue name', 128, true);
        perform _procrastinate_check_text(v_job.task_name, 'task name', 128, true);
        perform _procrastinate_check_args(v_job.args);
    end loop;
end;
$$;

comment on function _procrastinate_check_jobs(text[], text[], jsonb[], integer[]) is
'Raises PQ003 (invalid argument) for the first job whose names or arguments cannot be.';

-- Refuses options of jobs that cannot be meant, the first by name, before anything is
-- written: an unknown option, a value of another type, a number out of its bounds.
create function _procrastinate_check_options(p_options jsonb[], p_locks text[])
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_longest constant numeric := 1e10;  -- seconds: some 300 years
    v_wrong record;
begin
    select o.name, o.value, k.kind, k.least, k.most into v_wrong
    from unnest(p_options) as u (options)
    cross join lateral jsonb_each(
        case when jsonb_typeof(u.options) = 'object' then u.options
            else jsonb_build_object('options', u.options)
        end
    ) as o (name, value)
    left join (
        values
            ('timeout', 'number', 0.001, v_longest),
            ('heartbeat', 'number', 0.001, v_longest),
            ('ttl', 'number', -v_longest, v_longest),
            ('max_attempts', 'number', 1, 2147483647),
            ('retry_delay', 'number', 0, v_longest),
            ('retry_backoff', 'number', 0, 1e6),
            ('retry_delay_cap', 'number', 0, v_longest),
            ('retry_jitter', 'boolean', null, null),
            ('keep_result', 'boolean', null, null),
            ('key', 'string', 1, 500),
            ('group_key', 'string', 1, 500),
            ('meta', 'object', null, null)
    ) as k (name, kind, least, most) on k.name = o.name
    where
        u.options is not null
        and jsonb_typeof(u.options) <> 'null'
        and o.value <> 'null'
        and (
            k.name is null
            or jsonb_typeof(o.value) <> k.kind
            or case k.kind
                when 'number' then
                    (o.value #>> '{}')::numeric not between k.least and k.most
                    or (
                        k.name = 'max_attempts'
                        and (o.value #>> '{}')::numeric % 1 <> 0
                    )
                when 'string' then
                    length(o.value #>> '{}') not between k.least and k.most
                    -- part of a lock, and of the entry of an index that has 2704 bytes
                    or (k.name = 'group_key' and octet_length(o.value::text) > 1802)
            end
        )
    limit 1;
    if found and v_wrong.kind is null then
        perform _procrastinate_raise('PQ003',
            format('A job has no option "%s"', v_wrong.name), null,
            'Options are timeout, heartbeat, ttl, max_attempts, retry_delay, '
            'retry_backoff, retry_delay_cap, retry_jitter, key, group_key, keep_result, '
            'meta.');
    elsif found then
        perform _procrastinate_raise('PQ003',
            format('The option "%s" of a job cannot be %s', v_wrong.name,
                left(v_wrong.value::text, 60)),
            null,
            case v_wrong.kind
                when 'number' then
                    format('Give a number from %s to %s%s.', v_wrong.least, v_wrong.most,
                        case when v_wrong.name not in ('max_attempts', 'retry_backoff')
                            then ' (seconds)' else '' end)
                when 'string' then
                    format('Give %s to %s characters%s.', v_wrong.least, v_wrong.most,
                        case when v_wrong.name = 'group_key'
                            then ', 1800 bytes as JSON' else '' end)
                else format('Give a JSON %s.', v_wrong.kind)
            end);
    end if;
    if exists (
        select
        from unnest(p_options, p_locks) as u (options, lock)
        where u.lock is not null and u.options ->> 'group_key' is not null
    ) then
        perform _procrastinate_raise('PQ003', 'A job has a lock and a group', null,
            'Give one of them: a group is a lock that the database names.');
    end if;
end;
$$;

comment on function _procrastinate_check_options(jsonb[], text[]) is
'Raises PQ003 (invalid argument) for the first option of a job that cannot be meant.';

-- Refuses a report, or a wish for so many jobs, that cannot be meant, before anything is
-- written.
create function _procrastinate_check_report(
    p_worker_id bigint,
    p_limit integer,
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_statuses procrastinate_job_status[],
    p_delete boolean[]
)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_count constant integer := coalesce(cardinality(p_job_ids), 0);
    v_whole constant boolean
        := v_count = coalesce(cardinality(p_claim_ids), 0)
            and v_count = coalesce(cardinality(p_statuses), 0)
            and coalesce(cardinality(p_delete), 0) in (0, v_count)
            and array_position(p_job_ids, null) is null
            and array_position(p_claim_ids, null) is null;
begin
    if p_worker_id is not null and p_limit between 0 and 10000 and (
        v_count = 0
        or v_whole and p_statuses
            <@ array['succeeded', 'failed', 'aborted']::procrastinate_job_status[]
    ) then
        return true;
    end if;
    if (p_limit between 0 and 10000) is not true then
        perform _procrastinate_raise('PQ003',
            format('The number of jobs to fetch is %s', coalesce(p_limit::text, 'null')),
            null, 'Ask for 0 to 10000 jobs.');
    end if;
    if p_worker_id is null then
        perform _procrastinate_raise('PQ003', 'The worker''s id is null', null,
            'Give the id that procrastinate_register_worker_v2 returned.');
    end if;
    if not v_whole then
        perform _procrastinate_raise('PQ003',
            'The arrays of ended jobs differ in length, or hold a null',
            format('%s jobs, %s claims, %s statuses.', v_count,
                coalesce(cardinality(p_claim_ids), 0),
                coalesce(cardinality(p_statuses), 0)),
            'Give one claim and one status for each job.');
    end if;
    perform _procrastinate_raise('PQ003',
        'End status should be either "succeeded", "failed" or "aborted"',
        format('Got %s.', p_statuses::text),
        'Use procrastinate_retry_jobs_v1 to retry.');
    return false;
end;
$$;

comment on function _procrastinate_check_report(
    bigint, integer, bigint[], bigint[], procrastinate_job_status[], boolean[]
) is 'Raises PQ003 (invalid argument) for a report of ended jobs that cannot be meant.';

-- Refuses what would make the roles worth nothing, before any is made: whoever may create
-- objects beside ours can put a function in the way of one that runs as the owner.
create function _procrastinate_check_roles(p_names text[])
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_owner constant oid := (
        select c.relowner from pg_class as c where c.oid = 'procrastinate_jobs'::regclass
    );
    v_schema constant name := current_schema();
    v_name text;
begin
    if not pg_has_role(current_user, v_owner, 'usage') then
        perform _procrastinate_raise('42501',
            format('Only the owner of the schema''s tables, "%s", can grant rights on them',
                pg_get_userbyid(v_owner)),
            format('You are "%s".', current_user), 'Call it as that role.');
    end if;
    foreach v_name in array array_remove(p_names, null) loop
        perform _procrastinate_check_text(v_name, 'name of a role', 63, true);
        if exists (
            select from pg_roles as r
            where
                r.rolname = v_name
                and (r.rolcreaterole or pg_has_role(r.oid, v_owner, 'member'))
        ) then
            perform _procrastinate_raise('PQ003',
                format('The role "%s" has all rights already', v_name),
                format('It may create roles, or act as "%s".', pg_get_userbyid(v_owner)),
                'Name a role that is given no more than what its part needs.');
        end if;
    end loop;
    if exists (
        select
        from pg_namespace as n
        cross join lateral aclexplode(n.nspacl) as x
        left join pg_roles as r on r.oid = x.grantee
        where
            n.nspname = v_schema and x.privilege_type = 'CREATE'
            and (x.grantee = 0 or r.rolname = any(p_names))
    ) then
        perform _procrastinate_raise('PQ003',
            format('PUBLIC or one of the roles may create objects in schema "%s"',
                v_schema),
            'A function there could be called in the place of one of ours, as the owner.',
            format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC;', v_schema));
    end if;
end;
$$;

comment on function _procrastinate_check_roles(text[]) is
'Raises PQ003, 42501 unless roles of these names can be given rights that bound them.';

-- Refuses what a column cannot hold, with the name of the argument, before anything is
-- written.
create function _procrastinate_check_text(
    p_value text, p_what text, p_length integer, p_required boolean
)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    if p_value is null then
        if p_required then
            perform _procrastinate_raise('PQ003', format('The %s is null', p_what), null,
                format('Give the %s.', p_what));
        end if;
    elsif p_value = '' and p_required then
        perform _procrastinate_raise('PQ003', format('The %s is empty', p_what), null,
            format('Give the %s.', p_what));
    elsif length(p_value) > p_length then
        perform _procrastinate_raise('PQ003',
            format('The %s has %s characters: at most %s are allowed', p_what,
                length(p_value), p_length),
            format('It begins with "%s".', left(p_value, 40)),
            format('Use a shorter %s.', p_what));
    end if;
end;
$$;

comment on function _procrastinate_check_text(text, text, integer, boolean) is
'Raises PQ003 (invalid argument) for a text that is null, empty or too long.';

-- Refuses a tick of a periodic task that cannot be meant, before anything is written.
create function _procrastinate_check_tick(
    p_task_name text,
    p_periodic_id text,
    p_defer_timestamp bigint,
    p_queue_name text,
    p_args jsonb
)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    perform _procrastinate_check_text(p_queue_name, 'queue name', 128, true);
    perform _procrastinate_check_text(p_task_name, 'task name', 128, true);
    perform _procrastinate_check_text(
        coalesce(p_periodic_id, ''), 'periodic id', 128, false
    );
    perform _procrastinate_check_args(p_args);
    if p_defer_timestamp is null then
        perform _procrastinate_raise('PQ003', 'The tick of the periodic task is null', null,
            'Give the time of the tick in seconds since the epoch.');
    end if;
end;
$$;

comment on function _procrastinate_check_tick(text, text, bigint, text, jsonb) is
'Raises PQ003 (invalid argument) for a tick of a periodic task that cannot be meant.';

-- What a worker says that it calls is there. To be called after the insert of its row: a
-- migration that removes something holds the table, and is over or will see the row.
create function _procrastinate_check_wire(p_wire jsonb)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_missing text;
begin
    if p_wire is null then
        return;
    end if;
    if jsonb_typeof(p_wire) <> 'array' or p_wire @? '$[*] ? (@.type() != "string")' then
        perform _procrastinate_raise('PQ003',
            'What a worker calls ("wire") is a JSON array of names', null,
            'Give names of functions without "procrastinate_", such as "fetch_jobs_v1".');
    end if;
    select string_agg(n.name, ', ' order by n.name) into v_missing
    from jsonb_array_elements_text(p_wire) as n (name)
    where not exists (
        select
        from pg_proc as p
        where
            p.pronamespace = quote_ident(current_schema())::regnamespace
            and p.proname = 'procrastinate_' || n.name
    );
    if v_missing is not null then
        perform _procrastinate_raise('PQ008',
            format('The worker calls what the schema does not have: %s', v_missing),
            null,
            'An older worker: start it in the version that the schema was migrated to. '
            'A newer one: procrastinate schema --migrate.');
    end if;
end;
$$;

comment on function _procrastinate_check_wire(jsonb) is
'Raises PQ008 if a worker calls a function that is not there, PQ003 if it is no list.';

-- Takes back what a caller may have said to the update trigger in the place of a statement
-- of ours: that what follows from it is derived already. What a statement of ours that is
-- under way at another depth of triggers has said stays.
create function _procrastinate_clear_derived()
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    if current_setting('procrastinate.derived', true) = pg_trigger_depth()::text then
        perform set_config('procrastinate.derived', '', true);
    end if;
    return true;
end;
$$;

comment on function _procrastinate_clear_derived() is
'Has the update trigger of procrastinate_jobs derive, whatever the caller has set.';

-- The ids come in the order given: they are drawn in it, and the rows are inserted in it.
create function _procrastinate_defer_jobs(
    p_queue_names text[],
    p_task_names text[],
    p_priorities integer[],
    p_locks text[],
    p_queueing_locks text[],
    p_args jsonb[],
    p_scheduled_ats timestamptz[]
)
returns setof bigint
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    perform _procrastinate_check_jobs(p_queue_names, p_task_names, p_args, array[
        cardinality(p_priorities), cardinality(p_locks), cardinality(p_queueing_locks),
        cardinality(p_scheduled_ats)
    ]);
    return query
    insert into procrastinate_jobs as j (
        queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at
    )
    select
        u.queue_name, u.task_name, coalesce(u.priority, 0), u.lock, u.queueing_lock,
        coalesce(u.args, '{}'), u.scheduled_at
    from unnest(
        p_queue_names, p_task_names, p_priorities, p_locks, p_queueing_locks, p_args,
        p_scheduled_ats
    ) as u (queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at)
    returning j.id;
end;
$$;

comment on function _procrastinate_defer_jobs(
    text[], text[], integer[], text[], text[], jsonb[], timestamptz[]
) is 'Inserts jobs in todo; their ids in the order given. Raises PQ003, unique_violation.';

-- One tick of a periodic task becomes a job once, however many workers come with it, and
-- however late. The rows of the ticks before it go, as in 3.x; their times stay in its own,
-- down to a thousand before it. A worker that lags further behind than that is refused.
create function _procrastinate_defer_periodic(
    p_task_name text,
    p_periodic_id text,
    p_defer_timestamp bigint,
    p_queue_name text,
    p_priority integer,
    p_lock text,
    p_queueing_lock text,
    p_args jsonb,
    p_options jsonb
)
returns bigint
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_kept constant integer := 1000;
    v_id bigint;
    v_job_id bigint;
    v_earlier bigint[];
begin
    insert into procrastinate_periodic_defers (task_name, periodic_id, defer_timestamp)
    values (p_task_name, p_periodic_id, p_defer_timestamp)
    on conflict do nothing
    returning id into v_id;
    if v_id is null then
        return null;
    end if;
    -- after the insert: it has waited for whoever was about to delete this very tick's row
    if exists (
        select
        from procrastinate_periodic_defers as p
        where
            p.task_name = p_task_name
            and p.periodic_id = p_periodic_id
            and p.defer_timestamp > p_defer_timestamp
            and (
                p_defer_timestamp = any(p.earlier)
                or p_defer_timestamp < p.earlier[v_kept]
            )
    ) then
        delete from procrastinate_periodic_defers as p where p.id = v_id;
        return null;
    end if;

    if p_options is null then
        insert into procrastinate_jobs (
            queue_name, task_name, priority, lock, queueing_lock, args
        )
        values (
            p_queue_name, p_task_name, coalesce(p_priority, 0), p_lock, p_queueing_lock,
            coalesce(p_args, '{}')
        )
        returning id into v_job_id;
    else
        v_job_id := nextval('procrastinate_jobs_id_seq');
        perform _procrastinate_defer_with_options(
            array[p_queue_name], array[p_task_name], array[p_priority], array[p_lock],
            array[p_queueing_lock], array[p_args], '{}', array[p_options], array[v_job_id]
        );
    end if;

    -- a row that is locked is taken in by whoever holds it, or by the next tick
    with gone as (
        delete from procrastinate_periodic_defers as p
        where p.id in (
            select x.id
            from procrastinate_periodic_defers as x
            where
                x.task_name = p_task_name
                and x.periodic_id = p_periodic_id
                and x.defer_timestamp < p_defer_timestamp
            order by x.id
            for update skip locked
        )
        returning p.defer_timestamp, p.earlier
    )
    select array_agg(t.tick order by t.tick desc) into v_earlier
    from (
        select distinct e.tick
        from gone as g
        cross join lateral unnest(g.earlier || g.defer_timestamp) as e (tick)
        order by e.tick desc
        limit v_kept
    ) as t;
    update procrastinate_periodic_defers as p
    set job_id = v_job_id, earlier = coalesce(v_earlier, '{}')
    where p.id = v_id;
    return v_job_id;
end;
$$;

comment on function _procrastinate_defer_periodic(
    text, text, bigint, text, integer, text, text, jsonb, jsonb
) is 'Defers one tick of a periodic task, or returns null if that tick was taken.';

-- – -> todo for jobs with options, the ids given ones or drawn in the order given. The rest
-- of _procrastinate_defer_jobs, which has fewer columns to write.
create function _procrastinate_defer_with_options(
    p_queue_names text[],
    p_task_names text[],
    p_priorities integer[],
    p_locks text[],
    p_queueing_locks text[],
    p_args jsonb[],
    p_scheduled_ats timestamptz[],
    p_options jsonb[],
    p_ids bigint[]
)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    insert into procrastinate_jobs (
        id, queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at,
        timeout, heartbeat, ttl, max_attempts, retry_delay, retry_backoff,
        retry_delay_cap, retry_jitter, key, group_key, keep_result
    )
    select
        u.id, u.queue_name, u.task_name, coalesce(u.priority, 0),
        coalesce(
            u.lock, _procrastinate_group_lock(u.queue_name, u.options ->> 'group_key')
        ),
        u.queueing_lock, coalesce(u.args, '{}'), u.scheduled_at,
        make_interval(secs => (u.options ->> 'timeout')::double precision),
        make_interval(secs => (u.options ->> 'heartbeat')::double precision),
        make_interval(secs => (u.options ->> 'ttl')::double precision),
        (u.options ->> 'max_attempts')::integer,
        make_interval(secs => (u.options ->> 'retry_delay')::double precision),
        (u.options ->> 'retry_backoff')::double precision,
        make_interval(secs => (u.options ->> 'retry_delay_cap')::double precision),
        (u.options ->> 'retry_jitter')::boolean,
        u.options ->> 'key',
        u.options ->> 'group_key',
        (u.options ->> 'keep_result')::boolean
    from unnest(
        p_ids, p_queue_names, p_task_names, p_priorities, p_locks, p_queueing_locks,
        p_args, p_scheduled_ats, p_options
    ) as u (
        id, queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at,
        options
    );
    insert into procrastinate_results (job_id, meta, updated_at)
    select u.id, u.options -> 'meta', procrastinate_now()
    from unnest(p_ids, p_options) as u (id, options)
    where jsonb_typeof(u.options -> 'meta') = 'object';
end;
$$;

comment on function _procrastinate_defer_with_options(
    text[], text[], integer[], text[], text[], jsonb[], timestamptz[], jsonb[], bigint[]
) is 'Inserts jobs with these ids and options in todo. Raises unique_violation.';

-- Whether the trigger of this UPDATE is to derive what follows from it: not where a
-- statement of ours derives it all itself, and has said so with the depth of triggers that
-- it runs at.
--
-- The condition of a trigger is read anew from its text for each statement: a call is the
-- shortest text there is. Whoever may update jobs must be able to call it.
create function _procrastinate_derives()
returns boolean
language plpgsql stable parallel safe
set search_path from current
as $$
begin
    return current_setting('procrastinate.derived', true)
        is distinct from pg_trigger_depth()::text;
end;
$$;

comment on function _procrastinate_derives() is
'Whether the update trigger of procrastinate_jobs has anything to derive.';

-- What a job is, for the DETAIL of an error.
create function _procrastinate_describe_job(p_job_id bigint)
returns text
language plpgsql stable parallel safe
set search_path from current
as $$
declare
    v_job record;
begin
    select j.status, j.task_name, j.queue_name, j.attempts, j.worker_id into v_job
    from procrastinate_jobs as j
    where j.id = p_job_id;
    if not found then
        return format('There is no job %s.', p_job_id);
    end if;
    return format(
        'Job %s (%s on queue %s) is %s, with %s attempts%s.',
        p_job_id, v_job.task_name, v_job.queue_name, v_job.status, v_job.attempts,
        coalesce(', worker ' || v_job.worker_id, '')
    );
end;
$$;

comment on function _procrastinate_describe_job(bigint) is
'A sentence on the present state of a job, for errors.';

-- doing -> one status, for the claims that still hold their job: the job, what is derived
-- from it and its history in one statement. The caller has said so to the trigger of
-- procrastinate_jobs (procrastinate.derived): docs/decisions/0005-triggers-derive.md.
--
-- In the one order: rows of jobs, keys of their locks, rows of doing. The next heads of the
-- locks are then found by the caller, with a snapshot taken after the keys.
create function _procrastinate_end_alike(
    p_worker_id bigint,
    p_job_ids bigint[],
    p_claim_ids bigint[],  -- a claim is one job's: of more jobs than these, if need be
    p_status procrastinate_job_status,
    p_now timestamptz,
    out o_ended bigint[],
    out o_released procrastinate_doing[]  -- claims that had a lock, whose keys are in hand
)
language plpgsql volatile parallel unsafe
set search_path from current
set enable_nestloop = off  -- a filter by an array is quadratic; both sides come in order
as $$
declare
    v_event constant procrastinate_job_event_type
        := p_status::text::procrastinate_job_event_type;  -- of the same name
    v_others bigint[];
    v_gone bigint;
    v_keyed boolean;
    v_ok boolean;
begin
    with ended as (
        update procrastinate_jobs as j
        set status = p_status, attempts = least(j.attempts, 2147483646) + 1,
            abort_requested = false
        from procrastinate_doing as d
        where
            d.job_id = any(p_job_ids)
            and d.claim_id = any(p_claim_ids)
            and j.id = d.job_id
            and j.id = any(p_job_ids)
            and j.status = 'doing'
            and coalesce(j.worker_id, p_worker_id) = p_worker_id
        returning
            j.id, j.queue_name, j.status, j.attempts, j.worker_id, j.lock, j.key,
            -- neither a user's trigger has something else in mind, nor has the lock changed
            -- while the row was waited for
            j.status = p_status and j.lock is not distinct from d.lock as plain
    ),
    gone as (
        delete from procrastinate_doing as d
        where
            d.job_id = any(array(select e.id from ended as e where e.plain))
            and (
                select _procrastinate_take_locks(array_agg(e.lock))
                from ended as e
                where e.plain and e.lock is not null
                having count(*) > 0
            ) is not false
        returning d as claim, d.lock
    ),
    told as (
        insert into procrastinate_events (job_id, type, at, attempt, by_worker_id)
        select e.id, v_event, p_now, e.attempts, e.worker_id
        from ended as e
        where e.plain
    ),
    counted as (
        insert into procrastinate_counts (queue_name, status, jobs)
        select e.queue_name, p_status, count(*)
        from ended as e
        where e.plain
        group by e.queue_name
    )
    select
        array(select e.id from ended as e),
        array(select g.claim from gone as g where g.lock is not null),
        array(select e.id from ended as e where not e.plain),
        (select count(*) from gone as g),
        exists (select from ended as e where e.key is not null)
    into o_ended, o_released, v_others, v_gone, v_keyed;
    if v_gone <> cardinality(o_ended) - cardinality(v_others) then
        -- a job was given back and claimed again by this very worker just now: its claim is
        -- another, which this snapshot does not show, and must not be ended
        perform _procrastinate_raise('40001',
            'A job was claimed anew while the report of its former claim came in',
            null, 'Send the report again.');
    end if;
    if v_keyed then
        delete from procrastinate_keys as k where k.job_id = any(o_ended);
    end if;
    if v_others <> '{}' then
        v_ok := _procrastinate_changed_otherwise(v_others, 'doing');
    end if;
end;
$$;

comment on function _procrastinate_end_alike(
    bigint, bigint[], bigint[], procrastinate_job_status, timestamptz
) is 'doing -> this status for these claims; returns the jobs of those that held.';

-- doing -> ended (or gone) for the claims that still hold their job.
--
-- A claim that was recovered and given to another changes nothing. The claim is read from
-- the snapshot, so where the row had to be waited for, the worker says whose run it is now:
-- the present row is tested again for that. A pruned worker's job has no worker: its claim
-- counts.
create function _procrastinate_end_jobs(
    p_worker_id bigint,
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_statuses procrastinate_job_status[],
    p_delete boolean[],
    p_now timestamptz,
    out o_ended bigint[],
    out o_released procrastinate_doing[]  -- claims that had a lock, whose keys are in hand
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_part record;
    v_status procrastinate_job_status;
    v_gone bigint[];
begin
    if p_statuses[1] = all(p_statuses) and not true = any(p_delete) then
        -- one status for all, as most reports have
        v_part := _procrastinate_end_alike(
            p_worker_id, p_job_ids, p_claim_ids, p_statuses[1], p_now
        );
        o_ended := v_part.o_ended;
        o_released := v_part.o_released;
        return;
    end if;

    -- several statements: all that any of them waits for comes first
    perform _procrastinate_lock_jobs(
        array(
            select d.job_id
            from procrastinate_doing as d
            where d.job_id = any(p_job_ids) and d.claim_id = any(p_claim_ids)
        ),
        '{}'
    );
    o_ended := '{}';
    foreach v_status in array
        array['succeeded', 'failed', 'aborted']::procrastinate_job_status[]
    loop
        continue when not v_status = any(p_statuses);
        v_part := _procrastinate_end_alike(
            p_worker_id,
            array(
                select u.job_id
                from unnest(p_job_ids, p_statuses, p_delete) as u (job_id, status, gone)
                where u.status = v_status and u.gone is not true
            ),
            p_claim_ids,
            v_status,
            p_now
        );
        o_ended := o_ended || v_part.o_ended;
        o_released := o_released || v_part.o_released;
    end loop;
    if true = any(p_delete) then
        with gone as (
            delete from procrastinate_jobs as j
            using (
                select u.job_id, u.claim_id
                from unnest(p_job_ids, p_claim_ids, p_delete) as u (job_id, claim_id, gone)
                where u.gone
                order by u.job_id
            ) as e
            join procrastinate_doing as d on d.job_id = e.job_id and d.claim_id = e.claim_id
            where
                j.id = e.job_id
                and j.status = 'doing'
                and coalesce(j.worker_id, p_worker_id) = p_worker_id
            returning j.id
        )
        select array_agg(g.id) into v_gone from gone as g;
        o_ended := o_ended || v_gone;
    end if;
end;
$$;

comment on function _procrastinate_end_jobs(
    bigint, bigint[], bigint[], procrastinate_job_status[], boolean[],
    timestamptz
) is 'doing -> ended or gone for these claims; returns the jobs of those that held.';

-- The event that a change of status leaves; null for none. As 3.x has it: a job that ends
-- before it ran was cancelled, whatever its status says.
create function _procrastinate_event_of(
    p_from procrastinate_job_status, p_to procrastinate_job_status
)
returns procrastinate_job_event_type
language sql immutable parallel safe
return case p_from
    when 'todo'::procrastinate_job_status then case p_to
        when 'doing'::procrastinate_job_status
            then 'started'::procrastinate_job_event_type
        when 'succeeded'::procrastinate_job_status
            then 'cancelled'::procrastinate_job_event_type
        when 'failed'::procrastinate_job_status
            then 'cancelled'::procrastinate_job_event_type
        when 'cancelled'::procrastinate_job_status
            then 'cancelled'::procrastinate_job_event_type
    end
    when 'doing'::procrastinate_job_status then case p_to
        when 'todo'::procrastinate_job_status
            then 'deferred_for_retry'::procrastinate_job_event_type
        when 'succeeded'::procrastinate_job_status
            then 'succeeded'::procrastinate_job_event_type
        when 'failed'::procrastinate_job_status
            then 'failed'::procrastinate_job_event_type
        when 'aborted'::procrastinate_job_status
            then 'aborted'::procrastinate_job_event_type
    end
    when 'failed'::procrastinate_job_status then case p_to
        when 'todo'::procrastinate_job_status
            then 'retried'::procrastinate_job_event_type
    end
end;

comment on function _procrastinate_event_of(
    procrastinate_job_status, procrastinate_job_status
) is 'The event that a change from one status to another leaves, if any.';

-- doing -> todo while the job's data allows another attempt, else failed, for one claim
-- whose locks are in hand; false where it does not hold. Its data allows none if it names
-- no number of attempts. A job that was asked to abort fails in any case.
create function _procrastinate_fail_by_policy(
    p_worker_id bigint,
    p_job_id bigint,
    p_claim_id bigint,
    p_error jsonb,
    p_delete boolean
)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_job procrastinate_jobs;
    v_kept record;
    v_held boolean;
begin
    v_job := (select j from procrastinate_jobs as j where j.id = p_job_id);
    if v_job.attempts < v_job.max_attempts - 1 and not v_job.abort_requested then
        v_held := _procrastinate_put_back(
            p_worker_id, p_job_id, p_claim_id, 1,
            procrastinate_now() + _procrastinate_retry_delay(v_job), null, null, null
        );
    else
        v_kept := _procrastinate_store_results(
            p_worker_id, array[p_job_id], array[p_claim_id], '{failed}', '{}',
            array[p_error], procrastinate_now()
        );
        v_held := (
            select f.outcome = 'finished'
            from procrastinate_finish_jobs_v1(
                p_worker_id, array[p_job_id], array[p_claim_id], '{failed}',
                array[p_delete]
            ) as f
        );
        perform _procrastinate_tell_ended(v_kept.o_stored);
    end if;
    if v_held then
        perform _procrastinate_note_errors(array[p_job_id], array[p_error]);
    end if;
    return v_held;
end;
$$;

comment on function _procrastinate_fail_by_policy(bigint, bigint, bigint, jsonb, boolean) is
'doing -> todo or failed for one claim, as the job''s data says; false: not held.';

-- Which jobs a bulk verb of the front door is about: the next p_max_jobs after p_after_id,
-- by id. Nothing is locked, so each may have changed by the time it is looked at again.
--
-- Waiting and running jobs are found in the narrow tables: a million finished jobs cost
-- nothing then. Failed ones are in no index, so those are found by walking the primary key,
-- which a caller that goes on from the last id does once in all.
--
-- Candidates are taken by some hundreds or thousands and then sifted. In one statement
-- the planner, which knows no value, expects a row or none, and reads and sorts all that
-- there are in each call.
create function _procrastinate_find_jobs(
    p_statuses procrastinate_job_status[],
    p_queue_name text,
    p_task_name text,
    p_lock text,
    p_queueing_lock text,
    p_older_than interval,
    p_newer_than interval,
    p_job_ids bigint[],
    p_all_jobs boolean,
    p_after_id bigint,
    p_max_jobs integer
)
returns bigint[]
language plpgsql stable parallel safe
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set max_parallel_workers_per_gather = 0
set jit = off
as $$
declare
    v_now constant timestamptz := procrastinate_now();
    v_size integer := p_max_jobs;
    v_at bigint := p_after_id;
    v_chunk bigint[];
    v_found bigint[] := array[]::bigint[];
begin
    if p_older_than < interval '0' or p_newer_than < interval '0' then
        perform _procrastinate_raise('PQ003',
            'The age of jobs is negative',
            format('older_than %s, newer_than %s.', coalesce(p_older_than::text, 'null'),
                coalesce(p_newer_than::text, 'null')),
            'Give how long ago they were deferred, as in interval ''1 day''.');
    end if;
    if coalesce(p_max_jobs, 0) < 1 or p_after_id is null then
        perform _procrastinate_raise('PQ003',
            'Changing many jobs needs a number of jobs and where to begin',
            format('max_jobs %s, after_id %s.', coalesce(p_max_jobs::text, 'null'),
                coalesce(p_after_id::text, 'null')),
            'Ask for one job or more; begin with 0.');
    end if;
    if
        p_all_jobs is not true
        and coalesce(p_queue_name, p_task_name, p_lock, p_queueing_lock) is null
        and p_older_than is null and p_newer_than is null and p_job_ids is null
    then
        perform _procrastinate_raise('PQ003',
            'Changing many jobs needs a filter', null,
            'Name a queue, a task, a lock, an age or ids; or say all_jobs => true.');
    end if;

    loop
        v_chunk := array(
            select x.id
            from (
                (
                    select t.job_id as id
                    from procrastinate_todo as t
                    where
                        p_job_ids is null and 'todo' = any(p_statuses) and t.job_id > v_at
                    order by t.job_id
                    limit v_size
                )
                union all
                (
                    select d.job_id
                    from procrastinate_doing as d
                    where
                        p_job_ids is null and 'doing' = any(p_statuses) and d.job_id > v_at
                    order by d.job_id
                    limit v_size
                )
                union all
                (
                    select f.id
                    from procrastinate_jobs as f
                    where
                        p_job_ids is null and 'failed' = any(p_statuses) and f.id > v_at
                        and f.status = 'failed'
                    order by f.id
                    limit v_size
                )
                union all
                select n.id from unnest(p_job_ids) as n (id) where n.id > v_at
            ) as x
            order by x.id
            limit v_size
        );
        v_found := v_found || array(
            select j.id
            from procrastinate_jobs as j
            where
                j.id = any(v_chunk)
                and j.status = any(p_statuses)
                and (p_queue_name is null or j.queue_name = p_queue_name)
                and (p_task_name is null or j.task_name = p_task_name)
                and (p_lock is null or j.lock = p_lock)
                and (p_queueing_lock is null or j.queueing_lock = p_queueing_lock)
                and (
                    p_older_than is null
                    or coalesce(_procrastinate_since(j.id), '-infinity')
                    < v_now - p_older_than
                )
                and (
                    p_newer_than is null
                    or _procrastinate_since(j.id) >= v_now - p_newer_than
                )
            order by j.id
            limit p_max_jobs - cardinality(v_found)
        );
        exit when cardinality(v_chunk) < v_size or cardinality(v_found) >= p_max_jobs;
        v_at := v_chunk[v_size];
        v_size := greatest(v_size, least(v_size * 2, 20000));
    end loop;
    return v_found;
end;
$$;

comment on function _procrastinate_find_jobs(
    procrastinate_job_status[], text, text, text, text, interval, interval, bigint[],
    boolean, bigint, integer
) is 'The next jobs by id that pass all filters; null filters nothing. Raises PQ003.';

-- The first of these waiting jobs by priority, then id.
create function _procrastinate_first_of(p_job_ids bigint[], p_count integer)
returns bigint[]
language plpgsql stable parallel safe
set search_path from current
as $$
begin
    return array(
        select t.job_id
        from (
            select x.job_id, x.priority
            from procrastinate_todo as x
            where x.job_id = any(p_job_ids)
            offset 0
        ) as t
        order by t.priority desc, t.job_id
        limit p_count
    );
end;
$$;

comment on function _procrastinate_first_of(bigint[], integer) is
'The first of these waiting jobs by priority, then id.';

-- Many small changes of the numbers of finished jobs become one a queue and status. One at
-- a time; who comes second has nothing to do.
create function _procrastinate_fold_counts()
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    if not pg_try_advisory_xact_lock(_procrastinate_all_locks_key(2)) then
        return;
    end if;
    with old as (
        delete from procrastinate_counts as c
        returning c.queue_name, c.status, c.jobs
    )
    insert into procrastinate_counts (queue_name, status, jobs)
    select o.queue_name, o.status, sum(o.jobs)
    from old as o
    group by o.queue_name, o.status
    having sum(o.jobs) <> 0;
end;
$$;

comment on function _procrastinate_fold_counts() is
'Adds up the changes of the numbers of finished jobs.';

-- What a fetch from one queue must know before it reads jobs by their marks: the queue's
-- one priority, when the next delayed job falls due, and from which id to read those that
-- are ready again. No row where the queue is paused, or the marks do not know it.
--
-- In sql, so that it becomes part of the query that reads the jobs, with its snapshot.
create function _procrastinate_gate(p_queue text, p_marks bigint[])
returns table (priority integer, due timestamptz, again bigint)
language sql stable parallel safe
begin atomic
    select
        min(p.priority) as priority,
        (
            select t.scheduled_at
            from procrastinate_todo as t
            where t.state = 'd' and t.queue_name = p_queue
            order by t.scheduled_at
            limit 1
        ) as due,
        (
            select
                case
                    when count(*) >= 200 then '-9223372036854775808'::bigint
                    else least(p_marks[11], min(x.job_id))
                end
            from (
                select t.job_id
                from procrastinate_todo as t
                where t.state = 'a' and t.since >= p_marks[1]::text::xid8
                order by t.since
                limit 200  -- more than these: reading all is cheaper
            ) as x
        ) as again
    from procrastinate_priorities as p
    where
        p.queue_name = p_queue
        -- else of another server, before a restore
        and p_marks[1]::text::xid8 <= pg_snapshot_xmin(pg_current_snapshot())
        and not exists (
            select
            from procrastinate_queues as s
            where s.queue_name = p_queue and s.paused_at is not null
        )
    having count(*) = 1 and min(p.id) = p_marks[9];
end;

comment on function _procrastinate_gate(text, bigint[]) is
'Priority, next due time and mark of rows ready again, for a fetch from this one queue.';

-- A group is a lock that the database names: workers of 3.x keep to it as well
-- (docs/decisions/0095-a-group-is-a-lock.md). Null without a group, or without a queue.
create function _procrastinate_group_lock(p_queue_name text, p_group_key text)
returns text
language sql immutable parallel safe
return case
    when num_nulls(p_queue_name, p_group_key) = 0
        then 'group ' || jsonb_build_array(p_queue_name, p_group_key)::text
end;

comment on function _procrastinate_group_lock(text, text) is
'The lock of the jobs of one queue and group.';

-- The heads that this exchange has handed over and that may be claimed: blocked so far,
-- due, and still the next of their lock. Nothing has joined the line before them since, and
-- this fetch has not claimed such a one already; nobody else can have, for the key is in
-- hand.
--
-- In sql, so that it becomes part of the query that reads the ready jobs, with its
-- snapshot.
create function _procrastinate_handed_heads(p_handed bigint[], p_now timestamptz)
returns table (job_id bigint, queue_name varchar, priority integer)
language sql stable parallel safe
begin atomic
    select h.job_id, h.queue_name, h.priority
    from (
        select
            t.job_id, t.queue_name, t.priority, t.lock, t.state, t.scheduled_at
        from procrastinate_todo as t
        where t.job_id = any(p_handed[3:])
        offset 0
    ) as h
    where
        h.state = 'b'
        and coalesce(h.scheduled_at <= p_now, true)
        and not exists (
            select
            from (
                select t.priority, t.job_id
                from procrastinate_todo as t
                where t.lock = h.lock and t.since >= p_handed[1]::text::xid8
                order by t.since
                offset 0
            ) as s
            where (~s.priority, s.job_id) < (~h.priority, h.job_id)
        )
        and not exists (
            select
            from procrastinate_doing as d
            where d.lock = h.lock and d.claim_id > p_handed[2]
            order by d.claim_id
            limit 1
        );
end;

comment on function _procrastinate_handed_heads(bigint[], timestamptz) is
'Heads of locks released by this exchange that may be claimed by it.';

-- The next head of each lock that these claims have just released, for whoever holds the
-- keys and has made its changes.
--
-- A claim says where its job stood in line and what was not yet seen when it became the
-- head. The next head is the first job from there on, unless one has joined the line before
-- it since: only those are read besides. Where that is not known, or many have joined, the
-- line is to be read whole.
--
-- In sql, so that it becomes part of the query that uses it, with its snapshot.
create function _procrastinate_heads_of(p_released procrastinate_doing[])
returns table (
    lock text,
    claim_id bigint,
    whole boolean,
    job_id bigint,  -- null: nobody waits, or whole
    queue_name varchar,
    priority integer,
    scheduled_at timestamptz,
    state "char"
)
language sql stable parallel safe
begin atomic
    select
        l.lock, l.claim_id, a.whole, h.job_id, h.queue_name, h.priority, h.scheduled_at,
        h.state
    from unnest(p_released) as l
    cross join lateral (
        select
            -- of another server, before a restore
            coalesce(l.head_xmin >= pg_snapshot_xmax(pg_current_snapshot()), true)
            -- one ahead, or 200 at all
            or coalesce(sum(
                case
                    when (~s.priority, s.job_id) < (~l.priority, l.job_id) then 200
                    else 1
                end
            ) >= 200, false) as whole
        from (
            select t.priority, t.job_id
            from procrastinate_todo as t
            where t.lock = l.lock and t.since >= l.head_xmin
            order by t.since
            limit 200
        ) as s
    ) as a
    left join lateral (
        select t.job_id, t.queue_name, t.priority, t.scheduled_at, t.state
        from procrastinate_todo as t
        where
            not a.whole
            and t.lock = l.lock
            and (~t.priority, t.job_id) >= (~l.priority, l.job_id)
        order by t.lock, ~t.priority, t.job_id
        limit 1
    ) as h on true;
end;

comment on function _procrastinate_heads_of(procrastinate_doing[]) is
'The next head of each lock that these claims have released, where it is known.';

-- Every change of jobs but the two that each goes through: refuses what the state machine
-- does not allow, then derives todo and doing from the jobs' present rows and writes the
-- history.
create function _procrastinate_jobs_changed(
    p_job_ids bigint[],
    p_from procrastinate_job_status[],
    p_to procrastinate_job_status[],
    p_aborts boolean[],
    p_queues text[],
    p_locks text[]
)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_now constant timestamptz := procrastinate_now();
begin
    perform _procrastinate_refuse_transition(c.id, c.old, c.new)
    from unnest(p_job_ids, p_from, p_to) as c (id, old, new)
    where
        c.old <> c.new
        and c.new <> 'todo'
        and not (
            (c.old = 'todo' and c.new <> 'aborting')
            or (c.old = 'doing' and c.new in ('succeeded', 'failed', 'aborted'))
        );
    perform _procrastinate_reconcile(p_job_ids, p_locks);

    -- in the order of 3.x; of a job that is gone again nothing is told
    insert into procrastinate_events (job_id, type, at, attempt, by_worker_id)
    select
        c.id, e.type, coalesce(e.at, v_now), j.attempts,
        case when c.new = 'doing' or c.old = 'doing' then j.worker_id end
    from unnest(p_job_ids, p_from, p_to, p_aborts) as c (id, old, new, abort)
    join (
        select x.id, x.attempts, x.worker_id, x.scheduled_at
        from procrastinate_jobs as x
        where x.id = any(p_job_ids)
    ) as j on j.id = c.id
    cross join lateral (
        select 1 as nr, 'abort_requested'::procrastinate_job_event_type as type,
            null::timestamptz as at
        where c.abort
        union all
        select 2, 'scheduled', j.scheduled_at
        where c.new = 'todo' and j.scheduled_at is not null
        union all
        select 3, _procrastinate_event_of(c.old, c.new), null
        where _procrastinate_event_of(c.old, c.new) is not null
    ) as e
    order by c.id, e.nr;

    insert into procrastinate_counts (queue_name, status, jobs)
    select x.queue_name, x.status, sum(x.jobs)
    from (
        select j.queue_name, c.new as status, 1 as jobs
        from unnest(p_job_ids, p_to) as c (id, new)
        join (
            select x.id, x.queue_name
            from procrastinate_jobs as x
            where x.id = any(p_job_ids)
        ) as j on j.id = c.id
        where c.new > 'doing'
        union all
        select c.queue_name, c.old, -1
        from unnest(p_queues, p_from) as c (queue_name, old)
        where c.old > 'doing'
    ) as x
    group by x.queue_name, x.status
    having sum(x.jobs) <> 0;

    perform _procrastinate_announce(
        array(
            select c.id from unnest(p_job_ids, p_to) as c (id, new) where c.new = 'todo'
        ),
        array(
            select c.id
            from unnest(p_job_ids, p_to, p_aborts) as c (id, new, abort)
            where c.new = 'doing' and c.abort
        )
    );
    return true;
end;
$$;

comment on function _procrastinate_jobs_changed(
    bigint[], procrastinate_job_status[], procrastinate_job_status[], boolean[], text[],
    text[]
) is 'Any legal change of jobs: derived rows, history, NOTIFY. Raises PQ001, PQ005.';

-- Before jobs enter doing by a bare UPDATE: with the keys of their locks, refuses those
-- whose lock is held. A promoted head knows up to which claim its lock was free.
create function _procrastinate_jobs_started(p_job_ids bigint[], p_locks text[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
set enable_nestloop = on
set enable_sort = off
as $$
declare
    v_lock text;
    v_ok boolean;
begin
    v_ok := _procrastinate_refuse_old_snapshot('Starting a job that has a lock');
    v_ok := _procrastinate_take_locks(p_locks);

    select min(h.lock) into v_lock
    from (
        select
            x.lock,
            count(*) over (partition by x.lock) > 1
            or exists (
                select
                from procrastinate_doing as d
                where d.lock = x.lock and d.claim_id > coalesce(x.free_after, 0)
                order by d.claim_id
                limit 1
            ) as held
        from (
            select t.job_id, t.lock, t.free_after
            from procrastinate_todo as t
            where t.job_id = any(p_job_ids)
            offset 0
        ) as x
        where x.lock is not null
    ) as h
    where h.held;
    if v_lock is not null then
        perform _procrastinate_raise_held(v_lock);
    end if;
    return v_ok;
end;
$$;

comment on function _procrastinate_jobs_started(bigint[], text[]) is
'Raises unique_violation (procrastinate_jobs_lock_idx_v1) if one of these locks is held.';

-- The first jobs of one queue and priority that stand ready, by id: fresh ones and those
-- ready again, each from its mark on, p_take of each at most.
--
-- In sql, so that it becomes part of the query that uses it, with its snapshot.
create function _procrastinate_line(
    p_queue text,
    p_priority integer,
    p_fresh bigint,
    p_again bigint,
    p_take integer,
    p_pass bigint[]  -- but not these
)
returns table (job_id bigint, lock text, state "char")
language sql stable parallel safe
begin atomic
    (
        select t.job_id + 0 as job_id, t.lock, t.state
        from procrastinate_todo as t
        where
            t.state = 'r'
            and t.queue_name = p_queue
            and t.priority = p_priority
            and t.job_id + 0 >= p_fresh
            and t.job_id <> all(p_pass)
        order by t.job_id + 0
        limit p_take
    )
    union all
    (
        select t.job_id + 0 as job_id, t.lock, t.state
        from procrastinate_todo as t
        where
            t.state = 'a'
            and t.queue_name = p_queue
            and t.priority = p_priority
            and t.job_id + 0 >= p_again
            and t.job_id <> all(p_pass)
        order by t.job_id + 0
        limit p_take
    );
end;

comment on function _procrastinate_line(
    text, integer, bigint, bigint, integer, bigint[]
) is 'The first ready jobs of one queue and priority, from their marks on.';

-- The lock in whose line a waiting job stands just now: its own, but null for a job of a
-- group before its time, for others of the group may go first. In todo such a row has its
-- lock in due_lock.
create function _procrastinate_line_lock(
    p_lock text, p_group_key text, p_scheduled_at timestamptz, p_now timestamptz
)
returns text
language sql immutable parallel safe
return case
    when p_group_key is null or (p_scheduled_at > p_now) is not true then p_lock
end;

comment on function _procrastinate_line_lock(text, text, timestamptz, timestamptz) is
'The lock of a waiting job; null while a job of a group is delayed.';

-- Everything that a statement with many changes will wait for, in the one order: the rows
-- of the jobs by id, then the keys of all locks that they have or get. What follows may
-- then change them one by one without meeting another statement half way.
create function _procrastinate_lock_jobs(p_job_ids bigint[], p_locks text[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_locks text[];
begin
    perform
    from procrastinate_jobs as j
    where j.id = any(p_job_ids)
    order by j.id
    for no key update;

    select array_agg(distinct l.lock) into v_locks
    from (
        select j.lock from procrastinate_jobs as j where j.id = any(p_job_ids)
        union all
        select n.lock from unnest(p_locks) as n (lock)
    ) as l
    where l.lock is not null;
    return v_locks is null or _procrastinate_take_locks(v_locks);
end;
$$;

comment on function _procrastinate_lock_jobs(bigint[], text[]) is
'Locks these jobs by id, then the keys of their locks and of the locks given.';

-- The advisory key of a lock's value. Two values may share one: that costs a retry, never
-- correctness. Its body is bound when it is created, so it needs no search_path.
create function _procrastinate_lock_key(p_lock text)
returns bigint
language sql immutable strict parallel safe
return hashtextextended(p_lock, 'procrastinate_jobs'::regclass::oid::bigint);

comment on function _procrastinate_lock_key(text) is
'Advisory key that stands for a lock while somebody changes who holds it.';

-- Whether anything fell due in these queues, and whether anything became ready again since.
create function _procrastinate_look(
    p_queues text[], p_since xid8, out o_due boolean, out o_arrived boolean
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    select
        exists (
            select
            from unnest(p_queues) as q (queue_name)
            cross join lateral (
                select t.scheduled_at
                from procrastinate_todo as t
                where t.state = 'd' and t.queue_name = q.queue_name
                order by t.scheduled_at
                limit 1
            ) as d
            where d.scheduled_at <= procrastinate_now()
        ),
        (  -- not exists(): that would drop the order by, and the index with it
            select t.since
            from procrastinate_todo as t
            where t.state = 'a' and t.since >= p_since
            order by t.since
            limit 1
        ) is not null
    into o_due, o_arrived;
end;
$$;

comment on function _procrastinate_look(text[], xid8) is
'Whether a delayed job of these queues is due, and whether jobs became ready again.';

-- Those of these locks whose next job stands parked though nobody holds the lock: there
-- should be none.
create function _procrastinate_lost_heads(p_locks text[])
returns table (lock text, job_id bigint)
language plpgsql stable parallel safe
set search_path from current
as $$
#variable_conflict use_column
begin
    return query
    select l.lock, h.job_id
    from unnest(p_locks) as l (lock)
    cross join lateral (
        select t.job_id, t.state
        from procrastinate_todo as t
        where t.lock = l.lock
        order by t.lock, ~t.priority, t.job_id
        limit 1
    ) as h
    where
        h.state = 'b'
        and not exists (
            select
            from procrastinate_doing as d
            where d.lock = l.lock
            order by d.claim_id
            limit 1
        );
end;
$$;

comment on function _procrastinate_lost_heads(text[]) is
'Those of these locks that nobody holds and whose head is blocked all the same.';

-- How large the arguments of a job may be, in bytes as jsonb: the setting
-- procrastinate.max_args_size, or 10 MB. What a session sets counts for members of the
-- owner; for all others it is what the database was given, which they cannot set.
create function _procrastinate_max_args_size()
returns bigint
language plpgsql stable parallel safe
set search_path from current
as $$
declare
    v_size text;
begin
    if pg_has_role(session_user, (
        select c.relowner from pg_class as c where c.oid = 'procrastinate_jobs'::regclass
    ), 'member') then
        v_size := current_setting('procrastinate.max_args_size', true);
    else
        select substr(x.setting, strpos(x.setting, '=') + 1) into v_size
        from pg_db_role_setting as s
        left join pg_database as d on d.oid = s.setdatabase
        cross join lateral unnest(s.setconfig) as x (setting)
        where
            s.setrole = 0
            and (s.setdatabase = 0 or d.datname = current_database())
            and x.setting ^@ 'procrastinate.max_args_size='
        order by s.setdatabase desc
        limit 1;
    end if;
    return coalesce(pg_size_bytes(nullif(v_size, '')), 10485760);
end;
$$;

comment on function _procrastinate_max_args_size() is
'The setting procrastinate.max_args_size, such as 64MB; 10 MB if there is none.';

-- How large a result may be, in bytes as jsonb: the setting procrastinate.max_result_size,
-- else a megabyte.
create function _procrastinate_max_result_size()
returns integer
language sql stable parallel safe
return coalesce(
    nullif(current_setting('procrastinate.max_result_size', true), '')::integer, 1048576
);

comment on function _procrastinate_max_result_size() is
'Most bytes that a result may have as jsonb.';

-- Which workers call any of these functions, by their names without "procrastinate_". One
-- that did not say what it calls, as 3.x before it was adopted, is taken to call all.
create function _procrastinate_needing(p_functions text[])
returns table (worker_id bigint, alive boolean, functions text[], sentence text)
language plpgsql stable parallel safe
set search_path from current
as $$
begin
    return query
    select
        w.id,
        w.last_heartbeat >= procrastinate_now() - interval '30 seconds',
        n.functions,
        format('worker %s (%s) calls %s',
            w.id,
            concat_ws(', ',
                w.name,
                'version ' || coalesce(w.description ->> 'procrastinate', 'unknown'),
                'host ' || (w.description ->> 'hostname'),
                'process ' || (w.description ->> 'pid')),
            array_to_string(n.functions, ', '))
    from procrastinate_workers as w
    cross join lateral (
        select array_agg(f.name order by f.name) as functions
        from unnest(p_functions) as f (name)
        where not w.description ? 'wire' or w.description -> 'wire' ? f.name
    ) as n
    where n.functions is not null
    order by w.id;
end;
$$;

comment on function _procrastinate_needing(text[]) is
'Workers that call any of these functions, which of them, and whether they live.';

-- Seconds until something in these queues may run that may not run now: p_open are those
-- among them that are not paused.
create function _procrastinate_next_due_in(p_queues text[], p_open text[])
returns double precision
language plpgsql stable parallel safe
set search_path from current
as $$
declare
    v_now constant timestamptz := procrastinate_now();
    v_due timestamptz;
begin
    select min(x.at) into v_due
    from (
        select d.scheduled_at as at
        from unnest(p_open) as q (queue_name)
        cross join lateral (
            select t.scheduled_at
            from procrastinate_todo as t
            where t.state = 'd' and t.queue_name = q.queue_name
            order by t.scheduled_at
            limit 1
        ) as d
        union all
        select s.paused_until
        from procrastinate_queues as s
        where s.paused_until > v_now and (p_queues is null or s.queue_name = any(p_queues))
    ) as x;
    if v_due is null or v_due = 'infinity' then
        return null;  -- greatest() would make it 0
    end if;
    return greatest(extract(epoch from v_due - v_now), 0);
end;
$$;

comment on function _procrastinate_next_due_in(text[], text[]) is
'Seconds until the next delayed job of these queues falls due or a pause ends; else null.';

-- The next heads of locks, for whoever holds their keys and has made its changes: the
-- snapshots of these statements show every release and every parked job that committed
-- before.
--
-- p_released are the claims that have just released their locks. A lock without (p_locks)
-- is read from its start, over whatever dead rows an old snapshot keeps; it may be held.
--
-- Null if there is none, else: oldest transaction not seen, last claim, jobs.
create function _procrastinate_next_heads(
    p_released procrastinate_doing[], p_locks text[]
)
returns bigint[]
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_heads bigint[];
    v_whole text[];
    v_xmin bigint;
    v_claim bigint;
begin
    select
        array_agg(h.job_id) filter (where h.job_id is not null),
        array_agg(h.lock) filter (where h.whole),
        min(h.claim_id),  -- up to it no claim of any of these locks is held
        pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    into v_heads, v_whole, v_claim, v_xmin
    from _procrastinate_heads_of(p_released) as h;
    v_whole := v_whole || p_locks;

    if v_whole <> '{}' then  -- some have joined before the mark, or there is none
        select v_heads || array_agg(h.job_id) into v_heads
        from unnest(v_whole) as l (lock)
        cross join lateral (
            select t.job_id
            from procrastinate_todo as t
            where t.lock = l.lock
            order by t.lock, ~t.priority, t.job_id
            limit 1
        ) as h
        where
            not exists (
                select
                from procrastinate_doing as d
                where d.lock = l.lock
                order by d.claim_id
                limit 1
            );
        if v_claim is null then
            v_claim := (
                select case when s.is_called then s.last_value else 0 end
                from procrastinate_claims_seq as s
            );
        end if;
    end if;
    if v_heads <> '{}' then
        return array[v_xmin, v_claim] || v_heads;
    end if;
    return null;
end;
$$;

comment on function _procrastinate_next_heads(procrastinate_doing[], text[]) is
'The next heads of locks just released, and of these locks if nobody holds them.';

-- The next locks that jobs wait for, in their order, each found by one look into the index:
-- however many jobs wait for one.
create function _procrastinate_next_locks(p_after text, p_max integer)
returns text[]
language plpgsql stable parallel safe
set search_path from current
as $$
declare
    v_locks text[] := '{}'::text[];
    v_lock text := p_after;
begin
    for i in 1 .. p_max loop
        v_lock := case
            when v_lock is null then (
                select t.lock
                from procrastinate_todo as t
                where t.lock is not null
                order by t.lock, ~t.priority, t.job_id
                limit 1
            )
            else (
                select t.lock
                from procrastinate_todo as t
                where t.lock > v_lock
                order by t.lock, ~t.priority, t.job_id
                limit 1
            )
        end;
        exit when v_lock is null;
        v_locks := v_locks || v_lock;
    end loop;
    return v_locks;
end;
$$;

comment on function _procrastinate_next_locks(text, integer) is
'At most so many locks that jobs wait for, after the one given; null: from the first.';

-- Of a report, the claims that no longer held their job, and what that job is now: ended,
-- given to another, or gone.
create function _procrastinate_not_held(
    p_job_ids bigint[], p_claim_ids bigint[], p_ended bigint[]
)
returns setof procrastinate_exchange_v1
language plpgsql stable parallel safe
set search_path from current
as $$
begin
    return query
    select
        'not_held'::text, u.job_id, u.claim_id, j.status, j.queue_name, j.task_name,
        j.priority, j.lock, j.queueing_lock, null::jsonb, j.scheduled_at,
        j.attempts, j.abort_requested, null::double precision, null::boolean,
        null::boolean, null::bigint[], null::jsonb
    from unnest(p_job_ids, p_claim_ids) as u (job_id, claim_id)
    left join procrastinate_jobs as j on j.id = u.job_id
    where u.job_id <> all(p_ended);
end;
$$;

comment on function _procrastinate_not_held(bigint[], bigint[], bigint[]) is
'Rows for the claims of a report that changed nothing.';

-- Rows that became ready again below the marks, since the oldest transaction that the last
-- fetch did not see, lower the marks.
create function _procrastinate_note_arrivals(
    p_since xid8, p_queues text[], p_priorities integer[], p_again bigint[]
)
returns bigint[]
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    -- more than this: reading all from the start is cheaper
    v_many constant integer := 200;
    v_seen integer := 0;
    v_row record;
begin
    for v_row in
        select t.queue_name, t.priority, t.job_id
        from procrastinate_todo as t
        where t.state = 'a' and t.since >= p_since
        order by t.since
        limit v_many
    loop
        v_seen := v_seen + 1;
        if v_seen >= v_many or cardinality(p_queues) > v_many then
            return array_fill(
                '-9223372036854775808'::bigint, array[cardinality(p_queues)]
            );
        end if;
        for i in 1 .. cardinality(p_queues) loop
            if p_again[i] > v_row.job_id
                and p_queues[i] = v_row.queue_name
                and p_priorities[i] = v_row.priority
            then
                p_again[i] := v_row.job_id;
            end if;
        end loop;
    end loop;
    return p_again;
end;
$$;

comment on function _procrastinate_note_arrivals(xid8, text[], integer[], bigint[]) is
'The marks of rows ready again, lowered to those that became so since.';

-- Why these attempts failed, into the newest event of each job: in a line, and all of it.
create function _procrastinate_note_errors(p_job_ids bigint[], p_errors jsonb[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    update procrastinate_events as e
    set
        details = u.error,
        error = coalesce(
            e.error,
            regexp_replace(u.error ->> 'class', '^.*\.', '')
            || coalesce(': ' || left(u.error ->> 'message', 1000), '')
        )
    from unnest(p_job_ids, p_errors) as u (job_id, error)
    where
        e.job_id = u.job_id
        and jsonb_typeof(u.error) = 'object'
        and e.id = (
            select max(x.id) from procrastinate_events as x where x.job_id = u.job_id
        );
    return true;
end;
$$;

comment on function _procrastinate_note_errors(bigint[], jsonb[]) is
'Writes errors {class, message, traceback, attempt} into the newest event of each job.';

-- Remembers that a queue has used a priority, so that fetches look there. Nobody waits for
-- anybody: two who are the first to use one leave two rows. A queue that uses priorities as
-- if they were times is marked by a null instead: fetches then read it in one piece.
create function _procrastinate_note_priority(p_queue_name text, p_priority integer)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_many constant integer := 100;
begin
    if exists (
        select
        from procrastinate_priorities as p
        where p.queue_name = p_queue_name and p.priority = p_priority
    ) then
        return true;
    end if;
    if (
        select count(*) from procrastinate_priorities as p where p.queue_name = p_queue_name
    ) < v_many then
        insert into procrastinate_priorities (queue_name, priority)
        values (p_queue_name, p_priority);
    elsif not exists (
        select
        from procrastinate_priorities as p
        where p.queue_name = p_queue_name and p.priority is null
    ) then
        insert into procrastinate_priorities (queue_name, priority)
        values (p_queue_name, null);
    end if;
    return true;
end;
$$;

comment on function _procrastinate_note_priority(text, integer) is
'Adds a priority to those that a queue has used, if it is new.';

-- One NOTIFY to the queue of a job and one to those who listen to all queues.
create function _procrastinate_notify(p_queue_name text, p_type text, p_job_id bigint)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_payload constant text := format('{"type" : "%s", "job_id" : %s}', p_type, p_job_id);
begin
    return
        pg_notify(_procrastinate_channel(p_queue_name), v_payload) is not null
        and pg_notify('procrastinate_any_queue_v1', v_payload) is not null;
end;
$$;

comment on function _procrastinate_notify(text, text, bigint) is
'Tells the workers of a queue, and those of all queues, of a job.';

-- The options that a job has as jsonb, seconds as numbers: what defers take and fetches
-- return. Whoever fetches asks first whether there are any, and calls this for few.
create function _procrastinate_options_of(p_job procrastinate_jobs)
returns jsonb
language plpgsql stable parallel safe
set search_path from current
as $$
begin
    return jsonb_strip_nulls(jsonb_build_object(
        'timeout', trim_scale(extract(epoch from p_job.timeout)),
        'heartbeat', trim_scale(extract(epoch from p_job.heartbeat)),
        'ttl', trim_scale(extract(epoch from p_job.ttl)),
        'max_attempts', p_job.max_attempts,
        'retry_delay', trim_scale(extract(epoch from p_job.retry_delay)),
        'retry_backoff', p_job.retry_backoff,
        'retry_delay_cap', trim_scale(extract(epoch from p_job.retry_delay_cap)),
        'retry_jitter', p_job.retry_jitter,
        'key', p_job.key,
        'group_key', p_job.group_key,
        'keep_result', p_job.keep_result
    ));
end;
$$;

comment on function _procrastinate_options_of(procrastinate_jobs) is
'Options of a job: timeout, heartbeat, ttl, retries, key, group; {} if it has none.';

-- The next jobs of a worker of one queue, locks and all: locks their rows. Null where there
-- is something else to be done, or somebody in the way: pick_jobs then does it all again.
--
-- One statement reads what may be next (the line from the marks on, and the heads of the
-- locks released here, whose keys are in hand), and locks the rows of those that need no
-- other key. Fewer than asked for are an answer if read from the floor on, or if no id was
-- given since it was raised; else they are read from there.
create function _procrastinate_pick_here(
    p_worker_id bigint,
    p_queue text,
    p_limit integer,
    p_marks bigint[],
    p_released procrastinate_doing[],
    p_now timestamptz,
    out o_job_ids bigint[],
    out o_heads bigint[],
    out o_marks bigint[],
    out o_contended boolean,
    out o_more boolean,
    out o_next_due_in double precision
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_begin bigint := case when p_marks[10] > p_marks[4] + 64 then p_marks[10]
        else least(p_marks[10], p_marks[4] + 1) end;  -- hardly any further
    v_ids bigint[];
    v_locks text[];
    v_fresh bigint;
    v_again bigint;
    v_mark bigint;
    v_settled record;
    v_head bigint[] := p_marks[4:8];
    v_due timestamptz;
    v_snapshot pg_snapshot;
begin
    with heads as materialized (
        select h.job_id, h.queue_name, h.priority, h.scheduled_at, h.state, h.whole
        from _procrastinate_heads_of(p_released) as h
    ),
    gate as materialized (
        select g.priority, g.due, g.again from _procrastinate_gate(p_queue, p_marks) as g
    ),
    seen as materialized (
        select s.job_id, s.lock, s.state
        from gate as g
        cross join lateral _procrastinate_line(
            p_queue, g.priority, v_begin, g.again, p_limit, '{}'
        ) as s
        union all
        select h.job_id, null, h.state
        from gate as g
        join heads as h on h.priority = g.priority
        where
            h.state = 'b'
            and h.queue_name = p_queue
            and coalesce(h.scheduled_at <= p_now, true)
        order by job_id
        limit p_limit
    )
    select
        array_agg(s.job_id),
        array_agg(s.lock),
        max(s.job_id) filter (where s.state = 'r'),
        max(s.job_id) filter (where s.state = 'a'),
        (select g.due from gate as g),
        (select g.again from gate as g),
        array(
            select case when h.whole then -1 else h.job_id end
            from heads as h
            where h.whole or h.job_id is not null
        ),
        array(
            select j.id
            from procrastinate_jobs as j
            where
                j.id = any(array(select x.job_id from seen as x where x.lock is null))
                and j.status = 'todo'  -- as it is now: it may have changed since
                and (j.lock is null or j.id = any(array(select h.job_id from heads as h)))
                and j.queue_name = p_queue
                and coalesce(j.scheduled_at <= p_now, true)
                and exists (
                    select
                    from procrastinate_workers as w
                    where w.id = p_worker_id
                    for key share skip locked
                )
            for no key update of j skip locked
        ),
        pg_current_snapshot()
    into v_ids, v_locks, v_fresh, v_again, v_due, v_mark, o_heads, o_job_ids, v_snapshot
    from seen as s;
    if v_mark is null or v_due <= p_now or -1 = any(o_heads) then
        o_job_ids := null;
        return;
    end if;
    if array_remove(v_locks, null) <> '{}' then
        o_job_ids := o_job_ids || _procrastinate_pick_locked(
            p_worker_id, p_queue, v_ids, v_locks, o_job_ids, p_now
        );
    end if;
    if cardinality(o_job_ids) < cardinality(v_ids) then
        o_job_ids := null;
        return;
    end if;
    o_contended := false;
    o_more := false;
    if cardinality(o_job_ids) < p_limit then
        if v_begin > p_marks[4] + 1
            and p_marks[4] < pg_sequence_last_value('procrastinate_jobs_id_seq')
        then
            select p.o_job_ids, p.o_heads, p.o_marks, p.o_next_due_in
            into o_job_ids, o_heads, o_marks, o_next_due_in
            from _procrastinate_pick_here(p_worker_id, p_queue, p_limit,
                p_marks[:9] || (p_marks[4] + 1) || p_marks[11:], p_released, p_now) as p;
            if cardinality(o_job_ids) < p_limit then  -- all was read
                o_marks[10] := greatest(o_marks[10], p_marks[10]);
            end if;
            return;
        end if;
        v_settled := _procrastinate_settle(p_marks, v_snapshot, false);
        if v_settled.o_look_in <= 0 then
            o_job_ids := null;
            return;
        end if;
        v_head := v_settled.o_head;
        v_begin := greatest(p_marks[10], v_head[1] + 1);  -- all up to there was read
        o_next_due_in := least(
            extract(epoch from nullif(v_due, 'infinity') - p_now), v_settled.o_look_in
        );
    end if;
    o_marks := p_marks[:9] || array[
        greatest(v_begin, v_fresh + 1), greatest(v_mark, v_again + 1)
    ];
    o_marks[1] := pg_snapshot_xmin(v_snapshot)::text::bigint;
    o_marks[4:8] := v_head;
    if array_remove(v_locks, null) <> '{}' then
        o_marks := o_marks || 0::bigint;
    end if;
    o_heads := case
        when o_heads <> '{}' then array[o_marks[1], p_released[1].claim_id] || o_heads
    end;
end;
$$;

comment on function _procrastinate_pick_here(
    bigint, text, integer, bigint[], procrastinate_doing[], timestamptz
) is 'Locks the next jobs of one queue, where its marks say all there is to know.';

-- Locks at most p_limit jobs of these queues that may run, highest priority first, then
-- lowest id, for finish_and_fetch. Never waits for another transaction: what somebody holds
-- is skipped and told.
--
-- p_marks is what the last claim of this worker returned: for each pair of queue and
-- priority the ids from which its ready rows are read, so that the dead rows of earlier
-- claims are not read again. A mark may hide nothing: rows that became ready again are
-- found by their arrival, ids that committed late by a look behind the marks when a claim
-- finds too few: from the floor on, below which ids are settled, or every so often from the
-- start (docs/decisions/0003-low-water-marks.md, 0140-a-floor-under-the-marks.md). Layout:
-- oldest transaction not seen, time of the next full scan, time before which there is none
-- (microseconds both), the five of _procrastinate_settle, then triples of pair, mark of
-- fresh rows, mark of rows ready again, in the order of the walk. One more at the end says
-- that there were jobs with locks.
create function _procrastinate_pick_jobs(
    p_queues text[],
    p_limit integer,
    p_marks bigint[],
    p_handed bigint[],
    out o_job_ids bigint[],
    out o_marks bigint[],
    out o_contended boolean,
    out o_more boolean,
    out o_next_due_in double precision
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_start constant bigint := '-9223372036854775808'::bigint;
    v_begun timestamptz := clock_timestamp();
    v_snapshot pg_snapshot;
    v_xmin bigint;
    v_full boolean;
    v_next_full bigint := coalesce(p_marks[2], 0);
    v_allowed bigint := p_marks[3];
    v_settled record;
    v_passed bigint[];
    v_from bigint;
    v_pairs bigint[];
    v_queues text[];
    v_priorities integer[];
    v_fresh bigint[] := '{}'::bigint[];
    v_again bigint[] := '{}'::bigint[];
    v_look record;
    v_walk record;
begin
    o_job_ids := '{}';
    o_contended := false;
    o_more := false;
    v_look := _procrastinate_read_pairs(p_queues);
    v_pairs := v_look.o_pairs;
    v_queues := v_look.o_queues;
    v_priorities := v_look.o_priorities;
    if v_pairs is null then
        o_next_due_in := _procrastinate_next_due_in(p_queues, '{}');
        return;
    end if;

    -- before all reading: what this snapshot does not show arrives later
    v_snapshot := pg_current_snapshot();
    v_xmin := pg_snapshot_xmin(v_snapshot)::text::bigint;
    if p_marks[1] > v_xmin then  -- of another server, before a restore
        p_marks := null;
        v_next_full := 0;
    end if;
    v_look := _procrastinate_look(v_queues, p_marks[1]::text::xid8);
    if v_look.o_due then
        o_more := _procrastinate_wake_due(v_queues);
    end if;

    for i in 1 .. cardinality(v_pairs) loop
        if p_marks[i * 3 + 6] = v_pairs[i] then
            v_fresh := v_fresh || p_marks[i * 3 + 7];
            v_again := v_again || p_marks[i * 3 + 8];
        else
            v_fresh := v_fresh || v_start;
            v_again := v_again || v_start;
        end if;
    end loop;
    if p_marks is not null and (v_look.o_arrived or v_look.o_due) then
        v_again := _procrastinate_note_arrivals(
            p_marks[1]::text::xid8, v_queues, v_priorities, v_again
        );
    end if;

    v_full := v_next_full <= extract(epoch from v_begun) * 1e6;
    v_settled := _procrastinate_settle(p_marks, v_snapshot, v_full);
    loop
        if v_full or v_passed is not null then
            v_from := case when v_full then v_start else p_marks[4] + 1 end;
            v_passed := array(select greatest(f.id, v_settled.o_head[1] + 1)
                from unnest(v_fresh) as f (id));
            v_fresh := array(select least(f.id, v_from) from unnest(v_fresh) as f (id));
        end if;
        v_walk := _procrastinate_walk(
            v_queues, v_priorities, v_fresh, v_passed, v_again, o_job_ids, p_limit, p_handed
        );
        o_job_ids := v_walk.p_job_ids;
        v_fresh := v_walk.p_fresh;
        v_again := v_walk.p_again;
        o_contended := v_walk.o_contended;
        o_more := o_more or v_walk.o_more;

        exit when v_passed is not null or v_walk.o_more;
        exit when cardinality(o_job_ids) >= p_limit;
        -- too few: an id below its mark may have committed late
        v_begun := clock_timestamp();
        v_full := v_settled.o_look_in <= 0;
        exit when not v_full
            and p_marks[4] = pg_sequence_last_value('procrastinate_jobs_id_seq');
        v_passed := '{}';
        if v_full then
            v_settled := _procrastinate_settle(p_marks, v_snapshot, true);
        end if;
    end loop;
    if v_full then  -- not again before this one has cost a twentieth of the time
        v_allowed := extract(epoch from clock_timestamp()
            + (clock_timestamp() - v_begun - interval '1 millisecond') * 20) * 1e6;
        v_next_full := greatest(
            v_allowed, extract(epoch from clock_timestamp()) * 1e6 + 1e5
        );
    end if;
    v_settled.o_head := case
        when cardinality(o_job_ids) < p_limit and not v_walk.o_more then v_settled.o_head
        else coalesce(p_marks[4:8], array[v_start, -1, 0, 0, 0])
    end;
    o_marks := array[v_xmin, v_next_full, v_allowed] || v_settled.o_head;
    for i in 1 .. cardinality(v_pairs) loop
        o_marks := o_marks || v_pairs[i];  -- apart: only so is it appended in place
        o_marks := o_marks || v_fresh[i];
        o_marks := o_marks || v_again[i];
    end loop;
    if v_walk.o_locks then
        o_marks := o_marks || 0::bigint;
    end if;
    if cardinality(o_job_ids) >= p_limit then
        o_contended := false;
        o_more := false;
    else
        o_next_due_in := _procrastinate_next_due_in(p_queues, v_queues);
        if not v_full then
            o_next_due_in := least(o_next_due_in, greatest(v_settled.o_look_in, 0.001));
        end if;
    end if;
end;
$$;

comment on function _procrastinate_pick_jobs(text[], integer, bigint[], bigint[]) is
'Locks the first jobs of these queues that may run. Skips what others hold.';

-- Of jobs in line for pick_here, those that have a lock: takes the keys, locks the rows of
-- the jobs. Fewer than there are where one of them may not run, or somebody is in the way.
create function _procrastinate_pick_locked(
    p_worker_id bigint,
    p_queue text,
    p_job_ids bigint[],
    p_locks text[],  -- of each; null: it is picked already
    p_picked bigint[],  -- by this fetch so far: they are about to hold their locks
    p_now timestamptz
)
returns bigint[]
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_taken record;
begin
    if array_position(p_locks, null) is not null then
        select array_agg(c.job_id), array_agg(c.lock) into p_job_ids, p_locks
        from unnest(p_job_ids, p_locks) as c (job_id, lock)
        where c.lock is not null;
    end if;
    v_taken := _procrastinate_take_heads(
        p_job_ids, p_locks, p_picked,
        current_setting('max_locks_per_transaction')::integer / 2
    );
    if cardinality(v_taken.o_heads) = cardinality(p_job_ids) then
        return array(
            select j.id
            from procrastinate_jobs as j
            where
                j.id = any(v_taken.o_heads)
                and j.status = 'todo'  -- as it is now: it may have changed since
                and j.queue_name = p_queue
                and coalesce(j.scheduled_at <= p_now, true)
                and exists (
                    select
                    from procrastinate_workers as w
                    where w.id = p_worker_id
                    for key share skip locked
                )
            for no key update of j skip locked
        );
    end if;
    return '{}'::bigint[];
end;
$$;

comment on function _procrastinate_pick_locked(
    bigint, text, bigint[], text[], bigint[], timestamptz
) is 'Locks the rows of these jobs with locks, where all of them may run.';

-- The next jobs of a worker: locks the rows of at most p_limit, for finish_and_fetch.
--
-- Most fetches are of a worker of one queue, or of all where only one was ever used, with
-- marks that say where its last claim ended. They have two ways of few statements, which go
-- only where nothing else is to be done: the straight way here finds as many jobs as it has
-- slots, none with a lock, in one statement; the other (pick_here) takes locks in its
-- stride, and may find fewer. All else takes the general way (pick_jobs), from the start
-- (docs/decisions/0003-low-water-marks.md).
create function _procrastinate_pick_next(
    p_worker_id bigint,
    p_queues text[],
    p_limit integer,
    p_marks bigint[],
    p_released procrastinate_doing[],
    p_now timestamptz,
    out o_job_ids bigint[],
    out o_heads bigint[],  -- next heads of the locks released, as next_heads has them
    out o_marks bigint[],
    out o_contended boolean,
    out o_more boolean,
    out o_next_due_in double precision
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_start constant bigint := '-9223372036854775808'::bigint;
    v_queue text := p_queues[1];
    v_line bigint[];
    v_at integer := 1;
    v_from bigint := p_marks[10];
    v_take integer := p_limit * 2 + 8;
    v_mark bigint;
    v_ok boolean;
begin
    if p_limit = 0 then
        o_job_ids := '{}';
        o_marks := p_marks;
        o_contended := false;
        o_more := false;
        if p_released is not null then
            v_ok := _procrastinate_promote(p_released, '{}');
        end if;
        return;
    end if;
    if current_setting('transaction_isolation') <> 'read committed' then
        v_ok := _procrastinate_refuse_old_snapshot('Fetching jobs');
    end if;
    if coalesce(cardinality(p_queues), 1) = 1
        and cardinality(p_marks) in (11, 12)
        and to_timestamp(p_marks[2] / 1e6::double precision) > clock_timestamp()
    then
        if p_queues is null then
            select min(p.queue_name) into v_queue
            from procrastinate_priorities as p
            having count(*) = 1;
        end if;
        if v_queue is null then
            null;  -- of all, and there are several
        elsif p_released is null and cardinality(p_marks) = 11
            and p_marks[11] = v_start
        then
            o_job_ids := '{}';
            for v_round in 1..4 loop  -- each looks further: others have taken the first
                with line as materialized (
                    select array(
                        select case when t.lock is null then t.job_id + 0 end
                        from procrastinate_todo as t
                        where
                            t.state = 'r'
                            and t.queue_name = v_queue
                            and t.priority = (
                                select s.priority
                                from _procrastinate_straight(v_queue, p_marks) as s
                            )
                            and t.job_id + 0 >= v_from
                        order by t.job_id + 0
                        limit v_take
                    ) as ids
                )
                select
                    l.ids,
                    o_job_ids || array(
                        select j.id
                        from procrastinate_jobs as j
                        where
                            j.id = any(l.ids)
                            and j.status = 'todo'
                            and j.lock is null  -- as it is now: it may have changed since
                            and j.queue_name = v_queue
                            and coalesce(j.scheduled_at <= p_now, true)
                            and exists (
                                select
                                from procrastinate_workers as w
                                where w.id = p_worker_id
                                for key share skip locked
                            )
                        order by j.id
                        limit p_limit - cardinality(o_job_ids)
                        for no key update of j skip locked
                    )
                into v_line, o_job_ids
                from line as l;
                exit when array_position(v_line[:p_limit], null) is not null;
                if v_mark is null then
                    while o_job_ids[v_at] = v_line[v_at] loop
                        v_at := v_at + 1;  -- the mark stays below what was passed
                    end loop;
                    v_mark := coalesce(v_line[v_at], v_line[v_at - 1] + 1);
                end if;
                if cardinality(o_job_ids) = p_limit then
                    o_marks := p_marks[:9] || v_mark || v_start;
                    o_contended := false;
                    o_more := false;
                    return;
                end if;
                exit when cardinality(v_line) < v_take;
                v_from := v_line[v_take] + 1;
                v_take := v_take * 2;
            end loop;
        else
            select
                p.o_job_ids, p.o_heads, p.o_marks, p.o_contended, p.o_more, p.o_next_due_in
            into o_job_ids, o_heads, o_marks, o_contended, o_more, o_next_due_in
            from _procrastinate_pick_here(
                p_worker_id, v_queue, p_limit, p_marks, p_released, p_now
            ) as p;
            if o_job_ids is not null then
                return;
            end if;
        end if;
    end if;
    v_ok := _procrastinate_require_worker(p_worker_id);
    if p_released is not null then
        o_heads := _procrastinate_next_heads(p_released, '{}');
    end if;
    select p.o_job_ids, p.o_marks, p.o_contended, p.o_more, p.o_next_due_in
    into o_job_ids, o_marks, o_contended, o_more, o_next_due_in
    from _procrastinate_pick_jobs(p_queues, p_limit, p_marks, o_heads) as p;
end;
$$;

comment on function _procrastinate_pick_next(
    bigint, text[], integer, bigint[], procrastinate_doing[], timestamptz
) is 'Locks the next jobs of a worker that may run. Raises PQ004 (worker not registered).';

-- Puts the head of each lock that nobody holds back among the jobs that may be fetched, and
-- tells its queue. The caller holds the keys of these locks and has made its changes.
create function _procrastinate_promote(p_released procrastinate_doing[], p_locks text[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = on
set enable_sort = off
set jit = off
as $$
declare
    v_heads constant bigint[] := _procrastinate_next_heads(p_released, p_locks);
begin
    return v_heads is null or _procrastinate_unblock(v_heads);
end;
$$;

comment on function _procrastinate_promote(procrastinate_doing[], text[]) is
'Unblocks the next head of each of these locks that nobody holds, and tells its queue.';

-- Deletes results past their time, a bounded number. Progress and meta of a job that lives
-- have no such time.
create function _procrastinate_purge_results(p_max_results integer)
returns bigint
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_purged bigint;
begin
    delete from procrastinate_results as r
    where r.job_id = any(array(
        select x.job_id
        from procrastinate_results as x
        where x.expires_at <= procrastinate_now()
        order by x.expires_at
        limit p_max_results
        for update skip locked
    ));
    get diagnostics v_purged = row_count;
    return v_purged;
end;
$$;

comment on function _procrastinate_purge_results(integer) is
'Deletes at most so many results that have expired; how many it were.';

-- doing -> todo for one claim; failed instead where the job was asked to abort, or where
-- another job waits with its queueing lock: nothing stays in doing because something is in
-- the way. The reason stands in the event.
create function _procrastinate_put_back(
    p_worker_id bigint,
    p_job_id bigint,
    p_claim_id bigint,
    p_counted integer,
    p_retry_at timestamptz,
    p_priority integer,
    p_queue_name text,
    p_lock text
)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_reason text;
begin
    begin
        update procrastinate_jobs as j
        set
            status = case
                when j.abort_requested then 'failed' else 'todo'
            end::procrastinate_job_status,
            attempts = least(j.attempts, 2147483646)
                + case when j.abort_requested then 0 else p_counted end,
            scheduled_at = case
                when j.abort_requested or p_counted = 0 then j.scheduled_at
                else p_retry_at
            end,
            priority = coalesce(p_priority, j.priority),
            queue_name = coalesce(p_queue_name, j.queue_name),
            lock = coalesce(
                p_lock, _procrastinate_group_lock(p_queue_name, j.group_key), j.lock
            )
        from procrastinate_doing as d
        where
            j.id = p_job_id
            and d.job_id = p_job_id
            and d.claim_id = p_claim_id
            and j.status = 'doing'
            and coalesce(j.worker_id, p_worker_id) = p_worker_id;
        return found;
    exception
        when unique_violation then
            get stacked diagnostics v_reason = constraint_name;
            if v_reason <> 'procrastinate_jobs_queueing_lock_idx_v1' then
                raise;
            end if;
    end;

    update procrastinate_jobs as j
    set status = 'failed', attempts = least(j.attempts, 2147483646) + p_counted,
        abort_requested = false
    from procrastinate_doing as d
    where
        j.id = p_job_id
        and d.job_id = p_job_id
        and d.claim_id = p_claim_id
        and j.status = 'doing'
        and coalesce(j.worker_id, p_worker_id) = p_worker_id;
    if not found then
        return false;
    end if;
    update procrastinate_events as e
    set error = format(
        'Not put back: another job waits with the queueing lock %s',
        (select j.queueing_lock from procrastinate_jobs as j where j.id = p_job_id)
    )
    where
        e.job_id = p_job_id
        and e.id = (
            select max(x.id) from procrastinate_events as x where x.job_id = p_job_id
        );
    return true;
end;
$$;

comment on function _procrastinate_put_back(
    bigint, bigint, bigint, integer, timestamptz, integer, text, text
) is 'doing -> todo for one claim, or failed if that cannot be; false if it does not hold.';

-- The one way to raise an error of our own: sql/sqlstates.md lists the codes.
create function _procrastinate_raise(
    p_code text, p_message text, p_detail text, p_hint text
)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    if p_detail is null then  -- an option cannot be null, and an empty one prints a label
        raise exception using errcode = p_code, message = p_message, hint = p_hint;
    end if;
    raise exception using
        errcode = p_code, message = p_message, detail = p_detail, hint = p_hint;
end;
$$;

comment on function _procrastinate_raise(text, text, text, text) is
'Raises an error with code, message, detail and hint.';

-- The error of a unique index that there is not: 3.x clients know it by this name.
create function _procrastinate_raise_held(p_lock text)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    raise exception using
        errcode = 'unique_violation',
        constraint = 'procrastinate_jobs_lock_idx_v1',
        schema = current_schema(),
        table = 'procrastinate_doing',
        message = 'duplicate key value violates unique constraint '
            || '"procrastinate_jobs_lock_idx_v1"',
        detail = format('Key (lock)=(%s) already exists.', p_lock),
        hint = 'A job with this lock is in doing: let it end, '
            'or retry it if its worker is gone.';
end;
$$;

comment on function _procrastinate_raise_held(text) is
'Raises unique_violation (procrastinate_jobs_lock_idx_v1) for a lock that is held.';

-- The pairs of queue and priority that a fetch looks at, in the order of its walk. Queues
-- that are paused are not among them.
create function _procrastinate_read_pairs(
    p_queues text[],
    out o_pairs bigint[],
    out o_queues text[],
    out o_priorities integer[]
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    if p_queues is null then
        select array_agg(p.id), array_agg(p.queue_name), array_agg(p.priority)
        into o_pairs, o_queues, o_priorities
        from (
            select x.id, x.queue_name, x.priority
            from procrastinate_priorities as x
            where
                not exists (
                    select
                    from procrastinate_queues as s
                    where
                        s.queue_name = x.queue_name
                        and s.paused_at is not null
                        and coalesce(s.paused_until, 'infinity') > procrastinate_now()
                )
            order by x.priority desc, x.queue_name, x.id
        ) as p;
    else
        select array_agg(p.id), array_agg(p.queue_name), array_agg(p.priority)
        into o_pairs, o_queues, o_priorities
        from (
            select x.id, x.queue_name, x.priority
            from procrastinate_priorities as x
            where
                x.queue_name = any(p_queues)
                and not exists (
                    select
                    from procrastinate_queues as s
                    where
                        s.queue_name = x.queue_name
                        and s.paused_at is not null
                        and coalesce(s.paused_until, 'infinity') > procrastinate_now()
                )
            order by x.priority desc, x.queue_name, x.id
        ) as p;
    end if;
end;
$$;

comment on function _procrastinate_read_pairs(text[]) is
'Queues and priorities to look at that are not paused, highest priority first.';

-- Makes todo and doing true for these jobs, from their present rows: for every change but
-- the two that each job goes through, which the update trigger does itself.
--
-- Order: the rows of procrastinate_jobs are locked already (their statement has just
-- changed them) -> keys of all locks concerned -> doing and todo.
create function _procrastinate_reconcile(p_job_ids bigint[], p_locks text[] default '{}')
returns void
language plpgsql volatile parallel unsafe
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off
set jit = off
as $$
declare
    v_now constant timestamptz := procrastinate_now();
    v_locks text[];
    v_moved text[];
    v_released procrastinate_doing[];
    v_free text[];
begin
    -- the locks of these jobs, before and after
    select array_agg(distinct x.lock) into v_locks
    from (
        select l.lock from unnest(p_locks) as l (lock)
        union all
        select j.lock from procrastinate_jobs as j
        where j.id = any(p_job_ids) and j.status in ('todo', 'doing')
        union all
        select coalesce(t.lock, t.due_lock)
        from procrastinate_todo as t
        where t.job_id = any(p_job_ids)
        union all
        select d.lock from procrastinate_doing as d where d.job_id = any(p_job_ids)
    ) as x
    where x.lock is not null;
    if v_locks is not null then
        if current_setting('transaction_isolation') <> 'read committed' and exists (
            select
            from procrastinate_jobs as j
            left join procrastinate_doing as d on d.job_id = j.id and d.lock = j.lock
            where
                j.id = any(p_job_ids)
                and j.status = 'doing' and j.lock is not null and d.job_id is null
        ) then
            perform _procrastinate_refuse_old_snapshot('Starting a job that has a lock');
        end if;
        perform _procrastinate_take_locks(v_locks);
    end if;

    with gone as (
        delete from procrastinate_doing as d
        where
            d.job_id = any(p_job_ids)
            and not exists (
                select
                from (
                    select x.id, x.status
                    from procrastinate_jobs as x
                    where x.id = any(p_job_ids)
                ) as j
                where j.id = d.job_id and j.status = 'doing'
            )
        returning d as claim, d.lock
    )
    select array_agg(g.claim), array_agg(g.lock)
    into v_released, v_free
    from gone as g
    where g.lock is not null;

    perform
        _procrastinate_reconcile_keys(p_job_ids),
        _procrastinate_reconcile_todo(p_job_ids);

    with moved as (
        update procrastinate_doing as d
        set
            worker_id = j.worker_id,
            lock = j.lock,
            head_xmin = case when d.lock is not distinct from j.lock then d.head_xmin end
        from (
            select x.id, x.worker_id, x.lock
            from procrastinate_jobs as x
            where x.id = any(p_job_ids)
        ) as j
        where
            d.job_id = any(p_job_ids)
            and d.job_id = j.id
            and (d.worker_id, d.lock) is distinct from (j.worker_id, j.lock)
        returning d.lock
    )
    select array_agg(m.lock) into v_moved from moved as m where m.lock is not null;
    if v_moved is not null then
        -- it may hold its lock by an older claim than a promoted head of that lock knows of
        update procrastinate_todo as t
        set head_xmin = null, free_after = null
        where t.lock = any(v_moved) and t.head_xmin is not null;
    end if;

    insert into procrastinate_doing (
        job_id, worker_id, started_at, deadline_at, heartbeat_at, priority, lock
    )
    select
        j.id, j.worker_id, v_now, v_now + j.timeout, v_now + j.heartbeat, j.priority, j.lock
    from procrastinate_jobs as j
    where
        j.id = any(p_job_ids)
        and j.status = 'doing'
        and not exists (
            select
            from (
                select x.job_id
                from procrastinate_doing as x
                where x.job_id = any(p_job_ids)
            ) as d
            where d.job_id = j.id
        );

    if v_locks is not null then
        perform _procrastinate_refuse_held(v_locks);
        perform _procrastinate_promote(
            v_released,
            array(
                select l.lock from unnest(v_locks) as l (lock)
                except
                select f.lock from unnest(v_free) as f (lock)
            )
        );
    end if;
end;
$$;

comment on function _procrastinate_reconcile(bigint[], text[]) is
'Derives todo and doing anew for these jobs and promotes the heads of their locks.';

-- Makes procrastinate_keys true for these jobs, from their present rows. Raises
-- unique_violation (procrastinate_keys_pkey) where another active job has a key.
--
-- In the order of the keys, and before their rows of todo: two statements that want the
-- same keys do not wait for each other in a circle.
create function _procrastinate_reconcile_keys(p_job_ids bigint[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    delete from procrastinate_keys as k
    where
        k.job_id = any(p_job_ids)
        and not exists (
            select
            from procrastinate_jobs as j
            where j.id = k.job_id and j.key = k.key and j.status in ('todo', 'doing')
        );
    insert into procrastinate_keys (key, job_id)
    select j.key, j.id
    from procrastinate_jobs as j
    where
        j.id = any(p_job_ids)
        and j.key is not null
        and j.status in ('todo', 'doing')
        and not exists (select from procrastinate_keys as k where k.job_id = j.id)
    order by j.key;
    return true;
end;
$$;

comment on function _procrastinate_reconcile_keys(bigint[]) is
'Derives the keys of these jobs anew. Raises unique_violation (a key is in use).';

-- Makes the rows of todo true for these jobs, from their present rows. A job with a lock
-- stands blocked: the caller has the keys, and promotes the heads when all is written.
create function _procrastinate_reconcile_todo(p_job_ids bigint[])
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_now constant timestamptz := procrastinate_now();
begin
    delete from procrastinate_todo as t
    where
        t.job_id = any(p_job_ids)
        and not exists (
            select
            from (
                select x.id, x.status
                from procrastinate_jobs as x
                where x.id = any(p_job_ids)
            ) as j
            where j.id = t.job_id and j.status = 'todo'
        );

    update procrastinate_todo as t
    set
        queue_name = j.queue_name,
        priority = j.priority,
        lock = j.line,
        queueing_lock = j.queueing_lock,
        due_lock = case when j.line is null then j.lock end,
        scheduled_at = j.scheduled_at,
        state = case
            when j.line is not null then 'b'
            when j.scheduled_at > v_now then 'd'
            else 'a'
        end::"char",
        since = pg_current_xact_id(),
        head_xmin = null,
        free_after = null
    from (
        select
            x.id, x.status, x.queue_name, x.priority, x.lock, x.queueing_lock,
            x.scheduled_at,
            _procrastinate_line_lock(x.lock, x.group_key, x.scheduled_at, v_now) as line
        from procrastinate_jobs as x
        where x.id = any(p_job_ids)
    ) as j
    where
        t.job_id = any(p_job_ids)
        and t.job_id = j.id
        and j.status = 'todo'
        and (
            t.queue_name, t.priority, coalesce(t.lock, t.due_lock), t.queueing_lock,
            t.scheduled_at
        ) is distinct from (
            j.queue_name, j.priority, j.lock, j.queueing_lock, j.scheduled_at
        );

    insert into procrastinate_todo (
        job_id, since, scheduled_at, priority, state, queue_name, lock, queueing_lock,
        due_lock
    )
    select
        j.id, pg_current_xact_id(), j.scheduled_at, j.priority,
        case
            when l.line is not null then 'b'
            when j.scheduled_at > v_now then 'd'
            else 'a'
        end::"char",
        j.queue_name, l.line, j.queueing_lock, case when l.line is null then j.lock end
    from procrastinate_jobs as j
    cross join lateral _procrastinate_line_lock(
        j.lock, j.group_key, j.scheduled_at, v_now
    ) as l (line)
    where
        j.id = any(p_job_ids)
        and j.status = 'todo'
        and not exists (
            select
            from (
                select x.job_id from procrastinate_todo as x where x.job_id = any(p_job_ids)
            ) as t
            where t.job_id = j.id
        )
    order by j.queueing_lock, j.id;
end;
$$;

comment on function _procrastinate_reconcile_todo(bigint[]) is
'Derives todo anew for these jobs; those with a lock stand blocked.';

-- The error of a check constraint that there is not, since PostgreSQL would read its text
-- anew for each statement: 3.x clients know it by this name.
create function _procrastinate_refuse_abort(p_job_id bigint)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    raise exception using
        errcode = 'check_violation',
        constraint = 'check_not_todo_abort_requested',
        schema = current_schema(),
        table = 'procrastinate_jobs',
        message = 'new row for relation "procrastinate_jobs" violates check constraint '
            || '"check_not_todo_abort_requested"',
        detail = format('Job %s waits (todo): only one that runs can be asked to abort.',
            p_job_id),
        hint = 'Cancel it: select procrastinate_cancel_job(...).';
end;
$$;

comment on function _procrastinate_refuse_abort(bigint) is
'Raises check_violation (check_not_todo_abort_requested) for a waiting job asked to abort.';

-- Only the functions that defer give a group's jobs their lock: one without it would run
-- beside the others.
create function _procrastinate_refuse_group(p_group_key text)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    perform _procrastinate_raise('PQ003',
        format('A job of the group "%s" has no lock', p_group_key), null,
        'Defer it with procrastinate_defer_job(…, group_key => …).');
end;
$$;

comment on function _procrastinate_refuse_group(text) is
'Raises PQ003 (invalid argument) for a job of a group that was inserted without its lock.';

-- The exclusion of a lock: refuses a second job in doing, after the rows were written and
-- with the locks' keys in hand. A transaction that cannot take a fresh snapshot cannot
-- tell.
create function _procrastinate_refuse_held(p_locks text[])
returns void
language plpgsql volatile parallel unsafe
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = on
set enable_sort = off
set jit = off
as $$
declare
    v_lock text;
begin
    select l.lock into v_lock
    from unnest(p_locks) as l (lock)
    cross join lateral (
        select count(*) as holders
        from (
            select from procrastinate_doing as d where d.lock = l.lock
            order by d.claim_id
            limit 2
        ) as x
    ) as h
    where h.holders > 1
    limit 1;
    if found then
        perform _procrastinate_raise_held(v_lock);
    end if;
end;
$$;

comment on function _procrastinate_refuse_held(text[]) is
'Raises unique_violation (procrastinate_jobs_lock_idx_v1) where two jobs hold a lock.';

-- A job's number is its address in every other table. Both lists are sorted, of one length:
-- told is the first job whose number has gone.
create function _procrastinate_refuse_ids(p_old bigint[], p_new bigint[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_old bigint;
    v_new bigint;
begin
    select min(o.id) into v_old
    from unnest(p_old) as o (id) left join unnest(p_new) as n (id) on n.id = o.id
    where n.id is null;
    select min(n.id) into v_new
    from unnest(p_new) as n (id) left join unnest(p_old) as o (id) on o.id = n.id
    where o.id is null;
    perform _procrastinate_raise(
        'PQ006',
        format('The id of job %s cannot be changed to %s', v_old, v_new),
        'Events, results and users'' own tables know the job by its id.',
        'Defer a new job instead.'
    );
    return false;
end;
$$;

comment on function _procrastinate_refuse_ids(bigint[], bigint[]) is
'Raises PQ006 (id change) for these ids before and after an UPDATE.';

-- Without a fresh snapshot nobody can tell whether a lock is held.
create function _procrastinate_refuse_old_snapshot(p_what text)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
        perform _procrastinate_raise(
            'PQ005',
            format('%s needs the isolation level READ COMMITTED, not %s', p_what,
                upper(current_setting('transaction_isolation'))),
            'A transaction with one snapshot cannot see who holds a lock now.',
            'Run it outside that transaction; if that is the default of the role: '
            'ALTER ROLE … SET default_transaction_isolation TO ''read committed''.'
        );
    end if;
    return true;
end;
$$;

comment on function _procrastinate_refuse_old_snapshot(text) is
'Raises PQ005 (wrong isolation) in REPEATABLE READ or stricter.';

-- A migration is about to remove these functions, named without "procrastinate_". From here
-- to its end nobody registers or beats: who waits in register_worker_v2 looks afterwards
-- whether all that it calls is there. An old snapshot would lack who has just registered.
--
-- A worker that is taken for dead may be asleep only. Its row goes, so that it has to
-- register when it wakes, and is refused then instead of failing at its next job.
create function _procrastinate_refuse_removal(p_functions text[])
returns void
language plpgsql volatile parallel unsafe
set search_path from current
set lock_timeout = '5s'
as $$
declare
    v_found record;
begin
    perform _procrastinate_refuse_old_snapshot('A removal');
    lock table procrastinate_workers in share row exclusive mode;
    select
        count(*) filter (where n.alive) as living,
        string_agg(n.sentence, '; ' order by n.worker_id)
            filter (where n.alive) as sentences,
        array_agg(n.worker_id) filter (where not n.alive) as dead
    into v_found
    from _procrastinate_needing(p_functions) as n;
    if v_found.living > 0 then
        perform _procrastinate_raise('PQ008',
            format('What this migration removes is needed by %s live workers: %s',
                v_found.living, v_found.sentences),
            null,
            'Stop them, or start them in a version without it; then migrate again.');
    end if;
    perform _procrastinate_remove_workers(v_found.dead, null);
end;
$$;

comment on function _procrastinate_refuse_removal(text[]) is
'Raises PQ008, naming them, while live workers call these; removes dead workers that did.';

-- Refuses a change of status that the state machine does not know.
create function _procrastinate_refuse_transition(
    p_job_id bigint, p_from procrastinate_job_status, p_to procrastinate_job_status
)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    perform _procrastinate_raise(
        'PQ001',
        format('Job %s is %s: it cannot become %s', p_job_id, p_from, p_to),
        'Allowed: todo to doing, cancelled, succeeded, failed or aborted; doing to '
        'succeeded, failed, aborted or todo; any ended status to todo.',
        'To run the job again use procrastinate_retry_job, or set its status to todo.'
    );
end;
$$;

comment on function _procrastinate_refuse_transition(
    bigint, procrastinate_job_status, procrastinate_job_status
) is 'Raises PQ001 (illegal transition).';

-- Removes workers, and their number from the jobs in doing, at once; that of finished jobs
-- is taken off by the sweep. With an age only those whose heartbeat is older, and none of
-- those that are in the middle of an exchange: they live.
create function _procrastinate_remove_workers(p_worker_ids bigint[], p_older_than interval)
returns setof bigint
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_gone bigint[];
    v_jobs bigint[];
begin
    if p_older_than is null then
        with gone as (
            delete from procrastinate_workers as w
            where w.id = any(p_worker_ids)
            returning w.id
        )
        select array_agg(g.id order by g.id) into v_gone from gone as g;
    else
        with gone as (
            delete from procrastinate_workers as w
            where
                w.id in (
                    select x.id
                    from procrastinate_workers as x
                    where x.last_heartbeat < procrastinate_now() - p_older_than
                    order by x.id
                    for update skip locked
                )
            returning w.id
        )
        select array_agg(g.id order by g.id) into v_gone from gone as g;
    end if;
    if v_gone is null then
        return;
    end if;

    -- by id: an update alone would lock the rows in the order of its plan
    v_jobs := array(
        select j.id
        from procrastinate_jobs as j
        where
            j.id = any(array(
                select d.job_id
                from procrastinate_doing as d
                where d.worker_id = any(v_gone)
            ))
            and j.status = 'doing'
        order by j.id
        for no key update
    );
    update procrastinate_jobs as j
    set worker_id = null
    where j.id = any(v_jobs) and j.worker_id = any(v_gone) and j.status = 'doing';
    return query select g.id from unnest(v_gone) as g (id) order by g.id;
end;
$$;

comment on function _procrastinate_remove_workers(bigint[], interval) is
'Removes these workers, or those with an old heartbeat, and returns the ids that are gone.';

-- Derives the keys anew from all active jobs: for repair, which keeps everybody else out,
-- and derives the rest from them later. Of several with one key the first keeps it; the
-- others go on without.
create function _procrastinate_repair_keys()
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_outer constant text := current_setting('procrastinate.derived', true);
begin
    perform set_config('procrastinate.derived', pg_trigger_depth()::text, true);
    delete from procrastinate_keys;
    update procrastinate_jobs as j
    set key = null
    from (
        select x.id, row_number() over (partition by x.key order by x.id) as nr
        from procrastinate_jobs as x
        where x.key is not null and x.status in ('todo', 'doing')
    ) as k
    where j.id = k.id and k.nr > 1;
    perform set_config('procrastinate.derived', coalesce(v_outer, ''), true);
    insert into procrastinate_keys (key, job_id)
    select j.key, j.id
    from procrastinate_jobs as j
    where j.key is not null and j.status in ('todo', 'doing');
    return true;
end;
$$;

comment on function _procrastinate_repair_keys() is
'Derives procrastinate_keys anew; a key that several active jobs have stays with one.';

-- For functions that answer false where a transition does not apply: an unknown job is an
-- error.
create function _procrastinate_require_job(p_job_id bigint)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    if p_job_id is null or not exists (
        select from procrastinate_jobs as j where j.id = p_job_id
    ) then
        perform _procrastinate_raise('PQ002',
            format('There is no job %s', coalesce(p_job_id::text, 'null')),
            'It was never deferred, or it was deleted.',
            'Look for it in procrastinate_jobs.');
    end if;
end;
$$;

comment on function _procrastinate_require_job(bigint) is
'Raises PQ002 (job not found) for an id that no job has.';

-- A queue's name, for the functions that take one.
create function _procrastinate_require_queue(p_queue_name text)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    perform _procrastinate_check_text(p_queue_name, 'queue name', 128, true);
end;
$$;

comment on function _procrastinate_require_queue(text) is
'Raises PQ003 (invalid argument) for a name that no queue can have.';

-- Who fetches must be registered. The row is shared with the worker's other lanes and with
-- its heartbeat; a prune takes it whole.
create function _procrastinate_require_worker(p_worker_id bigint)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    perform
    from procrastinate_workers as w
    where w.id = p_worker_id
    for key share skip locked;
    if not found then
        perform _procrastinate_raise('PQ004',
            format('Worker %s is not registered', coalesce(p_worker_id::text, 'null')),
            'It was pruned because its heartbeat stopped, or it has unregistered.',
            'Register again with procrastinate_register_worker_v2; jobs that it held are '
            'recovered or given to others.');
    end if;
    return true;
end;
$$;

comment on function _procrastinate_require_worker(bigint) is
'Raises PQ004 (worker not registered) where the worker''s row is gone or going.';

-- doing or failed -> todo by hand, whoever holds the claim. A job in doing never stays
-- there because something is in the way: see put_back. False where the status does not
-- allow it.
create function _procrastinate_retry(
    p_job_id bigint,
    p_retry_at timestamptz,
    p_priority integer,
    p_queue_name text,
    p_lock text
)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_claim record;
begin
    select d.claim_id, d.worker_id into v_claim
    from procrastinate_doing as d
    where d.job_id = p_job_id;
    if found and _procrastinate_put_back(
        coalesce(v_claim.worker_id, 0), p_job_id, v_claim.claim_id, 1, p_retry_at,
        p_priority, p_queue_name, p_lock
    ) then
        return true;
    end if;
    update procrastinate_jobs as j
    set
        status = 'todo',
        attempts = least(j.attempts, 2147483646) + 1,
        abort_requested = false,
        scheduled_at = p_retry_at,
        priority = coalesce(p_priority, j.priority),
        queue_name = coalesce(p_queue_name, j.queue_name),
        lock = coalesce(
            p_lock, _procrastinate_group_lock(p_queue_name, j.group_key), j.lock
        )
    where j.id = p_job_id and j.status = 'failed';
    return found;
end;
$$;

comment on function _procrastinate_retry(bigint, timestamptz, integer, text, text) is
'doing or failed -> todo by hand; false where the status of the job does not allow it.';

-- How long a job waits after an attempt that failed, as its data says: the delay, times the
-- factor for each attempt before it, at most the cap, and of that a random part if wished
-- (full jitter).
create function _procrastinate_retry_delay(p_job procrastinate_jobs)
returns interval
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_longest constant double precision := 1e10;  -- seconds, as options may have
    v_delay double precision := coalesce(extract(epoch from p_job.retry_delay), 0);
    v_factor constant double precision := coalesce(p_job.retry_backoff, 1);
begin
    if v_delay > 0 and v_factor > 0 and p_job.attempts > 0 then
        -- by logarithms: a power may be too large for a number, or too small
        v_delay := exp(greatest(
            least(ln(v_delay) + p_job.attempts * ln(v_factor), ln(v_longest)), -50
        ));
    elsif v_factor = 0 and p_job.attempts > 0 then
        v_delay := 0;
    end if;
    v_delay := least(v_delay, extract(epoch from p_job.retry_delay_cap), v_longest);
    if p_job.retry_jitter then
        v_delay := v_delay * random();
    end if;
    return make_interval(secs => v_delay);
end;
$$;

comment on function _procrastinate_retry_delay(procrastinate_jobs) is
'Delay before the next attempt of a job of which one more has just failed.';

-- failed (or doing) -> todo for many jobs, an outcome for each: one that cannot be retried
-- is left and does not take the others back with it.
--
-- Order: rows of the jobs by id, those that others hold left out -> the keys of their locks
-- -> todo and doing, in the triggers.
create function _procrastinate_retry_many(p_job_ids bigint[], p_retry_at timestamptz)
returns table (job_id bigint, outcome text)
language plpgsql volatile parallel unsafe
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_mine bigint[];
    v_free bigint[];
    v_done bigint[] := array[]::bigint[];
    v_failed bigint[];
    v_keyed bigint[];
    v_todo bigint[];
    v_id bigint;
    v_name text;
begin
    v_mine := array(
        select j.id
        from procrastinate_jobs as j
        where j.id = any(p_job_ids) and j.status in ('failed', 'doing')
        order by j.id
        for no key update skip locked
    );
    perform _procrastinate_lock_jobs(v_mine, '{}');

    v_keyed := array(
        select x.id
        from (
            select j.id, j.key, row_number() over (partition by j.key order by j.id) as nr
            from procrastinate_jobs as j
            where j.id = any(v_mine) and j.status = 'failed' and j.key is not null
        ) as x
        where x.nr > 1 or exists (select from procrastinate_keys as k where k.key = x.key)
    );
    -- of those with the same queueing lock the first; and none where another job waits
    v_free := array(
        select distinct on (coalesce(j.queueing_lock, j.id::text), j.queueing_lock) j.id
        from procrastinate_jobs as j
        where
            j.id = any(v_mine)
            and j.status = 'failed'
            and j.id <> all(v_keyed)
            and (
                j.queueing_lock is null
                or not exists (
                    select
                    from procrastinate_todo as t
                    where t.queueing_lock = j.queueing_lock
                )
            )
        order by coalesce(j.queueing_lock, j.id::text), j.queueing_lock, j.id
    );
    v_todo := v_free || array(
        select j.id
        from procrastinate_jobs as j
        where j.id = any(v_mine) and j.status = 'doing'
        order by j.id
    );
    begin
        update procrastinate_jobs as j
        set
            status = 'todo',
            attempts = least(j.attempts, 2147483646) + 1,
            abort_requested = false,
            scheduled_at = p_retry_at
        where j.id = any(v_free) and j.status = 'failed';
        v_done := v_free;
        v_todo := v_todo[cardinality(v_free) + 1:];
    exception
        when unique_violation then  -- somebody was faster just now: one by one then
            v_done := array[]::bigint[];
    end;
    foreach v_id in array v_todo loop
        begin
            if _procrastinate_retry(v_id, p_retry_at, null, null, null) then
                v_done := v_done || v_id;
            end if;
        exception
            when unique_violation then
                get stacked diagnostics v_name = constraint_name;
                if v_name = 'procrastinate_keys_pkey' then
                    v_keyed := v_keyed || v_id;
                elsif v_name <> 'procrastinate_jobs_queueing_lock_idx_v1' then
                    raise;
                end if;
        end;
    end loop;
    v_failed := array(
        select j.id
        from procrastinate_jobs as j
        where j.id = any(v_done) and j.status = 'failed'
    );

    return query
    select
        n.id,
        case
            when n.id = any(v_failed) then 'failed'
            when n.id = any(v_done) then 'retried'
            when n.id = any(v_keyed) then 'key_taken'
            when n.id = any(v_mine) then 'queueing_lock_taken'
            else 'busy'
        end
    from unnest(p_job_ids) as n (id)
    order by n.id;
end;
$$;

comment on function _procrastinate_retry_many(bigint[], timestamptz) is
'failed or doing -> todo for many jobs, an outcome each: one refusal leaves the others.';

-- What each of the four roles may call (docs/decisions/0115-roles.md). A function that is
-- not here is nobody's but the owner's, so that a new one is granted by intent.
create function _procrastinate_rights()
returns table (role text, function_name text)
language plpgsql immutable parallel safe
set search_path from current
as $$
declare
    v_defers constant text[] := array[
        'procrastinate_defer_job', 'procrastinate_defer_jobs',
        'procrastinate_defer_jobs_v1', 'procrastinate_defer_jobs_v2',
        'procrastinate_defer_jobs_v3', 'procrastinate_find_keys_v1',
        'procrastinate_try_defer_jobs_v1', 'procrastinate_try_defer_jobs_v2'
    ];
    v_clock constant text[] := array[
        'procrastinate_now', '_procrastinate_travelled_now'
    ];
begin
    return query
    select x.role, f.function_name
    from (
        values
            ('producer', v_defers || v_clock),
            ('worker', v_defers || v_clock || array[
                'procrastinate_announce_ends_v1', 'procrastinate_channels_v1',
                'procrastinate_defer_periodic_job_v2',
                'procrastinate_defer_periodic_job_v3',
                'procrastinate_defer_periodic_job_v4', 'procrastinate_expire_jobs_v1',
                'procrastinate_fail_jobs_v1', 'procrastinate_fetch_job_v2',
                'procrastinate_fetch_jobs_v1', 'procrastinate_finish_and_fetch_v1',
                'procrastinate_finish_and_fetch_v2', 'procrastinate_finish_job_v1',
                'procrastinate_finish_jobs_v1', 'procrastinate_get_result',
                'procrastinate_get_results_v1', 'procrastinate_heartbeat_v1',
                'procrastinate_heartbeat_v2', 'procrastinate_list_jobs_to_abort_v1',
                'procrastinate_list_jobs_to_abort_v2', 'procrastinate_list_writers_v1',
                'procrastinate_prune_stalled_workers_v1',
                'procrastinate_prune_workers_v1', 'procrastinate_recover_jobs_v1',
                'procrastinate_register_worker_v1', 'procrastinate_register_worker_v2',
                'procrastinate_release_jobs_v1', 'procrastinate_retire_jobs_v1',
                'procrastinate_retry_job_v1', 'procrastinate_retry_job_v2',
                'procrastinate_retry_jobs_v1', 'procrastinate_retry_jobs_v2',
                'procrastinate_set_quiet_v1', 'procrastinate_sweep_v1',
                'procrastinate_unregister_worker_v1',
                'procrastinate_unregister_worker_v2', 'procrastinate_update_heartbeat_v1',
                'procrastinate_update_jobs_v1', 'procrastinate_version',
                'procrastinate_watch_job'
            ]),
            ('operator', v_clock || array[
                'procrastinate_abort_job', 'procrastinate_announce_ends_v1',
                'procrastinate_cancel_job', 'procrastinate_cancel_job_v1',
                'procrastinate_cancel_jobs',
                'procrastinate_channels_v1', 'procrastinate_check',
                'procrastinate_explain_job', 'procrastinate_get_result',
                'procrastinate_get_results_v1', 'procrastinate_pause_queue',
                'procrastinate_prune_stalled_workers', 'procrastinate_purge_jobs',
                'procrastinate_recover_stalled_jobs', 'procrastinate_repair',
                'procrastinate_reschedule_job', 'procrastinate_resume_queue',
                'procrastinate_retry_job', 'procrastinate_retry_job_v2',
                'procrastinate_retry_jobs', 'procrastinate_version',
                'procrastinate_watch_job'
            ]),
            ('auditor', v_clock || array[
                'procrastinate_check', 'procrastinate_explain_job',
                'procrastinate_version'
            ])
    ) as x (role, functions)
    cross join lateral unnest(x.functions) as f (function_name);
end;
$$;

comment on function _procrastinate_rights() is
'Which functions a producer, a worker, an operator and an auditor may call.';

-- What each of the four roles may read. A producer reads nothing; an auditor reads all but
-- what tasks were given and what they gave back: arguments, results, errors, metadata.
create function _procrastinate_rights_on_tables()
returns table (role text, relation text, columns text[])
language plpgsql stable parallel safe
set search_path from current
as $$
#variable_conflict use_column
declare
    v_of_tasks constant text[] := array[
        'procrastinate_jobs.args', 'procrastinate_events.error',
        'procrastinate_events.details'
    ];
begin
    return query
    select x.role, c.relname::text, array_agg(a.attname::text order by a.attnum)
    from pg_class as c
    join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    join (
        values
            ('worker', array[
                'procrastinate_doing', 'procrastinate_events', 'procrastinate_jobs',
                'procrastinate_results', 'procrastinate_todo', 'procrastinate_workers'
            ]),
            ('operator', array[
                'procrastinate_counts', 'procrastinate_doing', 'procrastinate_events',
                'procrastinate_jobs', 'procrastinate_keys', 'procrastinate_locks',
                'procrastinate_migrations', 'procrastinate_overview',
                'procrastinate_periodic_defers', 'procrastinate_priorities',
                'procrastinate_queues', 'procrastinate_results', 'procrastinate_stalled',
                'procrastinate_todo', 'procrastinate_workers'
            ]),
            ('auditor', array[
                'procrastinate_counts', 'procrastinate_doing', 'procrastinate_events',
                'procrastinate_jobs', 'procrastinate_locks', 'procrastinate_migrations',
                'procrastinate_overview', 'procrastinate_periodic_defers',
                'procrastinate_queues', 'procrastinate_stalled', 'procrastinate_todo',
                'procrastinate_workers'
            ])
    ) as x (role, relations) on c.relname = any(x.relations)
    where
        c.relnamespace = quote_ident(current_schema())::regnamespace
        and not (
            x.role = 'auditor' and format('%s.%s', c.relname, a.attname) = any(v_of_tasks)
        )
    group by x.role, c.relname;
end;
$$;

comment on function _procrastinate_rights_on_tables() is
'Which columns of which tables and views a worker, an operator and an auditor may read.';

-- The first ready jobs of one queue and priority, by id, from the marks on, and among them
-- the heads of locks that this exchange has released: those hold no question, and count as
-- free.
create function _procrastinate_see_queue(
    p_queue text,
    p_priority integer,
    p_fresh bigint,
    p_again bigint,
    p_take integer,
    p_picked bigint[],  -- by this fetch so far: not these
    p_handed bigint[],
    out o_seen integer,
    out o_free bigint[],
    out o_locked bigint[],
    out o_locks text[],
    out o_fresh bigint[],
    out o_again bigint[]
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    select
        count(*),
        array_agg(s.job_id) filter (where s.lock is null),
        array_agg(s.job_id) filter (where s.lock is not null),
        array_agg(s.lock) filter (where s.lock is not null),
        array[max(s.job_id) filter (where s.state = 'r')],
        array[max(s.job_id) filter (where s.state = 'a')]
    into o_seen, o_free, o_locked, o_locks, o_fresh, o_again
    from (
        select l.job_id, l.lock, l.state
        from _procrastinate_line(
            p_queue, p_priority, p_fresh, p_again, p_take, p_picked
        ) as l
        union all
        select h.job_id, null, 'b'
        from _procrastinate_handed_heads(p_handed, procrastinate_now()) as h
        where
            h.queue_name = p_queue
            and h.priority = p_priority
        order by job_id
        limit p_take
    ) as s;
end;
$$;

comment on function _procrastinate_see_queue(
    text, integer, bigint, bigint, integer, bigint[], bigint[]
) is 'The first ready jobs of one queue and priority, from its marks on.';

-- The same for some queues of one priority.
create function _procrastinate_see_queues(
    p_queues text[],
    p_priority integer,
    p_fresh bigint[],
    p_again bigint[],
    p_take integer,
    p_picked bigint[],  -- by this fetch so far: not these
    p_handed bigint[],
    out o_seen integer,
    out o_free bigint[],
    out o_locked bigint[],
    out o_locks text[],
    out o_fresh bigint[],
    out o_again bigint[]
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    with seen as (
        select c.job_id, c.lock, c.state, q.queue_name
        from (
            -- two who were the first to use a priority have left two pairs: one is enough
            select x.queue_name, min(x.fresh) as fresh, min(x.again) as again
            from unnest(p_queues, p_fresh, p_again) as x (queue_name, fresh, again)
            group by x.queue_name
        ) as q
        cross join lateral (
            (
                select t.job_id, t.lock, t.state
                from procrastinate_todo as t
                where
                    t.state = 'r'
                    and t.queue_name = q.queue_name
                    and t.priority = p_priority
                    and t.job_id + 0 >= q.fresh
                    and t.job_id <> all(p_picked)
                order by t.job_id + 0
                limit p_take
            )
            union all
            (
                select t.job_id, t.lock, t.state
                from procrastinate_todo as t
                where
                    t.state = 'a'
                    and t.queue_name = q.queue_name
                    and t.priority = p_priority
                    and t.job_id + 0 >= q.again
                    and t.job_id <> all(p_picked)
                order by t.job_id + 0
                limit p_take
            )
        ) as c
        union all
        select h.job_id, null, 'b', null
        from _procrastinate_handed_heads(p_handed, procrastinate_now()) as h
        where
            h.queue_name = any(p_queues)
            and h.priority = p_priority
        order by job_id
        limit p_take
    ),
    mark as (
        select
            max(s.job_id) filter (where s.state = 'r') as fresh,
            max(s.job_id) filter (where s.state = 'a') as again,
            i.nr
        from unnest(p_queues) with ordinality as i (queue_name, nr)
        left join seen as s on s.queue_name = i.queue_name
        group by i.nr
    )
    select
        count(*),
        array_agg(s.job_id) filter (where s.lock is null),
        array_agg(s.job_id) filter (where s.lock is not null),
        array_agg(s.lock) filter (where s.lock is not null),
        (select array_agg(m.fresh order by m.nr) from mark as m),
        (select array_agg(m.again order by m.nr) from mark as m)
    into o_seen, o_free, o_locked, o_locks, o_fresh, o_again
    from seen as s;
end;
$$;

comment on function _procrastinate_see_queues(
    text[], integer, bigint[], bigint[], integer, bigint[], bigint[]
) is 'The first ready jobs of one priority in these queues, from their marks on.';

-- The same for queues that have used too many priorities to walk: without marks.
create function _procrastinate_see_wide(
    p_queues text[],
    p_take integer,
    p_pass bigint[],
    p_handed bigint[],
    out o_seen integer,
    out o_free bigint[],
    out o_locked bigint[],
    out o_locks text[]
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    select
        count(*),
        array_agg(s.job_id) filter (where s.lock is null),
        array_agg(s.job_id) filter (where s.lock is not null),
        array_agg(s.lock) filter (where s.lock is not null)
    into o_seen, o_free, o_locked, o_locks
    from (
        select c.job_id, c.lock, c.priority
        from (select distinct x.queue_name from unnest(p_queues) as x (queue_name)) as q
        cross join lateral (
            (
                select t.job_id, t.lock, t.priority
                from procrastinate_todo as t
                where
                    t.state = 'r'
                    and t.queue_name = q.queue_name
                    and t.job_id <> all(p_pass)
                order by t.priority desc, t.job_id + 0
                limit p_take
            )
            union all
            (
                select t.job_id, t.lock, t.priority
                from procrastinate_todo as t
                where
                    t.state = 'a'
                    and t.queue_name = q.queue_name
                    and t.job_id <> all(p_pass)
                order by t.priority desc, t.job_id + 0
                limit p_take
            )
        ) as c
        union all
        select h.job_id, null, h.priority
        from _procrastinate_handed_heads(p_handed, procrastinate_now()) as h
        where
            h.job_id <> all(p_pass)
            and h.queue_name = any(p_queues)
        order by priority desc, job_id
        limit p_take
    ) as s;
end;
$$;

comment on function _procrastinate_see_wide(text[], integer, bigint[], bigint[]) is
'The first ready jobs of these queues by priority, then id, without marks.';

-- How far ids are settled for this worker: which ones can no longer come late. A part of
-- the marks, to be kept if the fetch reads all from the floor on, or from the start
-- (docs/decisions/0140-a-floor-under-the-marks.md).
--
-- An id is given before its row can be seen. One that was given when the sequence stood at
-- C belongs to a transaction that had a number then, thus one below B, where B is the
-- number of a transaction of ours that began later. Once none below B is under way, all up
-- to C are there or never will be: a fetch whose snapshot shows that, and that reads all,
-- raises the floor to C. Transactions that go on for long (below Y, N of them) do not
-- count, else the floor would stay where it is as long as one of them does: when one ends,
-- only a scan from the start finds what it wrote, and is due as soon as one is allowed.
create function _procrastinate_settle(
    p_marks bigint[],
    p_snapshot pg_snapshot,  -- taken before the fetch read anything
    p_whole boolean,  -- from the start
    -- floor, C (-1: none), B (0 less the number of ours at that time: not known yet), Y, N
    out o_head bigint[],
    out o_look_in double precision  -- seconds until a scan from the start is due
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_own constant bigint := coalesce(pg_current_xact_id_if_assigned()::text::bigint, 0);
    v_floor bigint := coalesce(p_marks[4], '-9223372036854775808'::bigint);
    v_given bigint := nullif(p_marks[5], -1);
    v_bound bigint := coalesce(p_marks[6], 0);
    v_old bigint := coalesce(p_marks[7], 0);
    v_count bigint := coalesce(p_marks[8], 0);
    v_open bigint;
    v_still bigint;
begin
    if v_bound <= 0 and v_bound > -v_own then
        v_bound := v_own;
    end if;
    select
        count(*) filter (where x.xid::text::bigint < v_old),
        count(*) filter (where x.xid::text::bigint between v_old and v_bound - 1)
    into v_still, v_open
    from pg_snapshot_xip(p_snapshot) as x (xid);
    if p_whole then
        v_count := v_still;
    else
        o_look_in := p_marks[case when v_still = v_count then 2 else 3 end] / 1e6
            - extract(epoch from clock_timestamp());
    end if;
    if v_given is not null
        and v_bound > 0
        and v_bound <= pg_snapshot_xmax(p_snapshot)::text::bigint  -- else not listed
        and (v_open = 0 or p_whole)
    then
        if v_open > 0 then
            v_old := v_bound;
            v_count := v_still + v_open;
        end if;
        v_floor := v_given;
        v_given := null;
    end if;
    if v_given is null then
        v_given := coalesce(pg_sequence_last_value('procrastinate_jobs_id_seq'), 0);
        v_bound := -v_own;
    end if;
    o_head := array[v_floor, v_given, v_bound, v_old, v_count];
end;
$$;

comment on function _procrastinate_settle(bigint[], pg_snapshot, boolean) is
'Up to which id none can come late, for the marks of a fetch that reads all.';

-- Since when a job is what it is: its newest event. One that says for when the job was
-- scheduled tells no past, and to be asked to abort is no change of status.
create function _procrastinate_since(p_job_id bigint)
returns timestamptz
language sql stable parallel safe
begin atomic
    select max(e.at)
    from procrastinate_events as e
    where e.job_id = p_job_id and e.type not in ('scheduled', 'abort_requested');
end;

comment on function _procrastinate_since(bigint) is
'When a job got its present status; null for a job without history.';

-- What the jobs of a report leave, before they end: results of those that are to be kept,
-- for the claims that still hold their job. Their rows are locked, so that nobody takes the
-- claims away before they end.
create function _procrastinate_store_results(
    p_worker_id bigint,
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_statuses procrastinate_job_status[],
    p_results jsonb[],
    p_errors jsonb[],
    p_now timestamptz,
    out o_held bigint[],
    out o_stored bigint[]
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    with held as materialized (
        select j.id, j.ttl
        from procrastinate_jobs as j
        where
            j.id = any(p_job_ids)
            and j.status = 'doing'
            and coalesce(j.worker_id, p_worker_id) = p_worker_id
            and exists (
                select
                from procrastinate_doing as d
                where d.job_id = j.id and d.claim_id = any(p_claim_ids)
            )
        order by j.id
        for no key update of j
    ),
    stored as (
        insert into procrastinate_results as r
            (job_id, result, error, updated_at, expires_at, status)
        select
            h.id, u.result, u.error, p_now,
            case when h.ttl > interval '0' then p_now + h.ttl end, u.status
        from held as h
        join unnest(p_job_ids, p_statuses, p_results, p_errors) as u (
            job_id, status, result, error
        ) on u.job_id = h.id
        where h.ttl >= interval '0'
        on conflict (job_id) do update
        set
            result = excluded.result,
            error = excluded.error,
            updated_at = excluded.updated_at,
            expires_at = excluded.expires_at,
            status = excluded.status
        returning r.job_id
    )
    select
        array(select h.id from held as h), array(select s.job_id from stored as s)
    into o_held, o_stored;
end;
$$;

comment on function _procrastinate_store_results(
    bigint, bigint[], bigint[], procrastinate_job_status[], jsonb[], jsonb[], timestamptz
) is 'Stores the results of claims that hold their job, as its ttl says, before it ends.';

-- Whether a worker of this one queue may take the straight way, as the priority to read:
-- null where there is more to be done than to claim the next jobs in line.
--
-- The queue is not paused and has used the one priority that the marks know, and nothing
-- became ready again. What fell due is noticed by the next full scan: whoever goes this way
-- has no slot left for it. In sql, so that it becomes part of the query that reads the
-- jobs, with its snapshot.
create function _procrastinate_straight(
    p_queue text, p_marks bigint[]
)
returns table (priority integer)
language sql stable parallel safe
begin atomic
    select min(p.priority)
    from procrastinate_priorities as p
    where
        p.queue_name = p_queue
        and p_marks[1]::text::xid8 <= pg_snapshot_xmin(pg_current_snapshot())
        and not exists (
            select
            from procrastinate_queues as s
            where s.queue_name = p_queue and s.paused_at is not null
        )
        and not exists (
            select
            from procrastinate_todo as t
            where t.state = 'a' and t.queue_name = p_queue
        )
    having count(*) = 1 and min(p.id) = p_marks[9];
end;

comment on function _procrastinate_straight(text, bigint[]) is
'The one priority of this queue, where nothing but its next jobs is to be looked at.';

-- Of candidates with a lock: which may run now. The others are parked (state b), so that no
-- fetch meets them again before their lock's head is promoted.
--
-- Keys are only tried: whoever has one is about to release or to claim, and will say so.
-- What is behind it is told in o_busy. With a key in hand, a fresh snapshot decides. A head
-- that nobody holds back is never parked. A promoted one carries what is known of its line:
-- only later arrivals and claims are read.
create function _procrastinate_take_heads(
    p_job_ids bigint[],
    p_locks text[],
    p_picked bigint[],  -- by this fetch so far: they are about to hold their locks
    inout p_budget integer,
    out o_heads bigint[],
    out o_busy bigint[],
    out o_over bigint[]
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_tried text[];
    v_got text[];
    v_held text[];
    v_stay bigint[];
    v_xmax constant xid8 := pg_snapshot_xmax(pg_current_snapshot());
begin
    if not (
        pg_try_advisory_xact_lock_shared(_procrastinate_all_locks_key(1))
        and pg_try_advisory_xact_lock_shared(_procrastinate_all_locks_key(0))
    ) then
        o_busy := p_job_ids;
        return;
    end if;
    select array_agg(k.lock), array_agg(k.lock) filter (where k.got) into v_tried, v_got
    from (
        select l.lock, pg_try_advisory_xact_lock(_procrastinate_lock_key(l.lock)) as got
        from (
            select x.lock
            from unnest(p_locks) with ordinality as x (lock, nr)
            group by x.lock
            order by min(x.nr)
            limit p_budget
        ) as l
        offset 0
    ) as k;
    p_budget := p_budget - cardinality(v_tried);
    if v_got is distinct from v_tried then
        select array_agg(c.job_id) into o_busy
        from unnest(p_job_ids, p_locks) as c (job_id, lock)
        where c.lock = any(v_tried) and c.lock <> all(coalesce(v_got, '{}'));
    end if;
    if p_budget <= 0 then
        select array_agg(c.job_id) into o_over
        from unnest(p_job_ids, p_locks) as c (job_id, lock) where c.lock <> all(v_tried);
    end if;
    if v_got is null then
        return;
    end if;
    -- a snapshot taken after the keys: it shows all that their last holders did
    select
        array_agg(h.head_id) filter (where not l.held),
        array_agg(l.lock) filter (where l.held)
    into o_heads, v_held
    from (
        select
            k.lock, k.job_id, k.priority, k.head_xmin,
            exists (
                select from procrastinate_doing as d
                where d.lock = k.lock and d.claim_id > coalesce(k.free_after, 0)
                order by d.claim_id
                limit 1
            ) or k.lock = any(array(
                select t.lock from procrastinate_todo as t
                where t.job_id = any(p_picked) and t.lock is not null
            )) as held
        from (
            select distinct on (x.lock)
                x.lock, x.job_id, x.priority, x.head_xmin, x.free_after
            from (
                select
                    t.lock, t.job_id, t.priority, t.free_after, t.state,
                    -- in a dump of another server it may lie ahead: then it says nothing
                    case when t.head_xmin < v_xmax then t.head_xmin end as head_xmin
                from procrastinate_todo as t
                where t.job_id = any(p_job_ids)
                offset 0
            ) as x
            where x.lock = any(v_got) and x.state in ('r', 'a')
            order by x.lock, x.head_xmin is null, ~x.priority, x.job_id
        ) as k
        offset 0
    ) as l
    cross join lateral (
        select coalesce(
            (
                select l.job_id
                where
                    l.head_xmin is not null
                    and not exists (
                        select from (
                            select t.priority, t.job_id
                            from procrastinate_todo as t
                            where t.lock = l.lock and t.since >= l.head_xmin
                            order by t.since
                            offset 0
                        ) as s
                        where (~s.priority, s.job_id) < (~l.priority, l.job_id)
                    )
            ),
            (
                select t.job_id
                from procrastinate_todo as t
                where t.lock = l.lock
                order by t.lock, ~t.priority, t.job_id
                limit 1
            )
        ) as head_id
    ) as h;

    if cardinality(o_heads) = cardinality(p_job_ids) and p_job_ids <@ o_heads then
        return;
    end if;
    -- what must stay as it is: heads that nobody holds, and jobs of locks not looked into
    select array_agg(c.job_id) into v_stay
    from unnest(p_job_ids, p_locks) as c (job_id, lock)
    where c.lock = any(v_got) and c.job_id <> all(coalesce(o_heads, '{}'::bigint[]));
    update procrastinate_todo as t
    set state = 'b'
    where
        t.job_id = any(v_stay)
        and t.state::text in ('r', 'a')
        and (
            t.lock || '' = any(v_held)
            or exists (  -- the head of its lock is another, and was seen
                select from procrastinate_todo as h
                where
                    h.job_id = any(o_heads)
                    and h.lock || '' = t.lock || ''
                    and h.job_id <> t.job_id
            )
        );
    -- a head that is no candidate is another queue's, or another walk's, to claim
    o_heads := array(
        select h.job_id from unnest(o_heads) as h (job_id) where h.job_id = any(p_job_ids)
    );
end;
$$;

comment on function _procrastinate_take_heads(bigint[], text[], bigint[], integer) is
'Of ready jobs with locks: claims the keys, tells the heads that may run, parks the rest.';

-- The keys of these locks, waited for in the order of the keys, held until the transaction
-- ends. Whoever releases a lock or changes who is at its head calls this after it has
-- locked rows of procrastinate_jobs and before it changes a row of todo or doing.
--
-- The keys live in a table of fixed size that the whole server shares. A statement with
-- many takes the one key for all locks instead: decided here, before the first key, and
-- only tried, for a waiting exclusive request would stop everybody. Announcing the wish
-- keeps fetches away, so that it comes true when those under way have ended.
create function _procrastinate_take_locks(p_locks text[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_many constant integer := current_setting('max_locks_per_transaction')::integer * 8;
    v_nap double precision := 0.002;  -- seconds; doubles up to a quarter of a second
    v_waited double precision := 0;
    v_ok boolean;
begin
    if cardinality(p_locks) <= v_many then
        -- as an expression: no statement is set up for it
        v_ok := pg_advisory_xact_lock_shared(_procrastinate_all_locks_key(0)) is null;
        if cardinality(p_locks) = 1 then
            return pg_advisory_xact_lock(_procrastinate_lock_key(p_locks[1])) is not null;
        end if;
        perform pg_advisory_xact_lock(k.key)
        from (
            select distinct _procrastinate_lock_key(l.lock) as key
            from unnest(p_locks) as l (lock)
            order by 1
        ) as k;
        return true;
    end if;

    perform pg_advisory_xact_lock(_procrastinate_all_locks_key(1));
    while not pg_try_advisory_xact_lock(_procrastinate_all_locks_key(0)) loop
        -- seconds; two transactions may each hold what the other wants
        if v_waited > 10 then
            perform _procrastinate_raise(
                'PQ007',
                format('Could not get hold of all locks to change %s of them at once',
                    cardinality(p_locks)),
                'Other transactions kept changing locked jobs for 10 seconds.',
                'Run the statement again, or split it into smaller ones.'
            );
        end if;
        perform pg_sleep(v_nap);
        v_waited := v_waited + v_nap;
        v_nap := least(v_nap * 2, 0.25);
    end loop;
    return true;
end;
$$;

comment on function _procrastinate_take_locks(text[]) is
'Waits for the advisory keys of these locks, sorted by key. Raises PQ007 (all locks busy).';

-- After a job of this queue and priority was written to todo: notifies, unless all of the
-- queue's workers have said that they look by themselves, and notes the priority if it is
-- new. One statement does both looks: this runs for every defer
-- (docs/decisions/0067-few-statements.md).
--
-- The look must have a snapshot of its own, taken when this transaction holds its lock on
-- todo. A worker that means to sleep takes its word back, commits, and then asks who holds
-- such a lock: whoever looked before that is among them, whoever looks later sees it
-- (docs/decisions/0073-quiet-notify.md).
create function _procrastinate_tell(
    p_queue_name text, p_priority integer, p_job_id bigint
)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_known boolean;
    v_quiet boolean;
begin
    select
        exists (
            select
            from procrastinate_priorities as p
            where p.queue_name = p_queue_name and p.priority = p_priority
        ),
        (  -- one that is not comes first; without a worker it is null
            select w.quiet
            from procrastinate_workers as w
            where w.queues is null or p_queue_name = any(w.queues)
            order by w.quiet
            limit 1
        )
    into v_known, v_quiet;
    if not v_known then
        v_known := _procrastinate_note_priority(p_queue_name, p_priority);
    end if;
    if v_quiet
        and current_setting('transaction_isolation') = 'read committed'
        and coalesce(current_setting('procrastinate.notify', true), '') <> 'always'
    then
        return false;
    end if;
    return _procrastinate_notify(p_queue_name, 'job_inserted', p_job_id);
end;
$$;

comment on function _procrastinate_tell(text, integer, bigint) is
'NOTIFYs of a job, unless all workers of its queue look by themselves; notes its priority.';

-- These jobs have ended and left a result: NOTIFYs of it if somebody has said to wait.
create function _procrastinate_tell_ended(p_job_ids bigint[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    if p_job_ids <> '{}' and exists (
        select from procrastinate_announcements as a where a.ends_until > clock_timestamp()
    ) then
        return _procrastinate_tell_jobs('procrastinate_ended_v1', 'job_ended', p_job_ids);
    end if;
    return false;
end;
$$;

comment on function _procrastinate_tell_ended(bigint[]) is
'NOTIFYs of the ends of these jobs if somebody waits.';

-- NOTIFYs of many jobs on one channel: a payload has less than 8000 bytes, so it goes in
-- parts.
create function _procrastinate_tell_jobs(p_channel text, p_type text, p_job_ids bigint[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_most constant integer := 300;
    v_from integer := 1;
begin
    while v_from <= cardinality(p_job_ids) loop
        perform pg_notify(p_channel, jsonb_build_object(
            'type', p_type, 'job_ids', to_jsonb(p_job_ids[v_from:v_from + v_most - 1])
        )::text);
        v_from := v_from + v_most;
    end loop;
    return true;
end;
$$;

comment on function _procrastinate_tell_jobs(text, text, bigint[]) is
'NOTIFYs a channel of these jobs: {"type": …, "job_ids": […]}, in parts.';

-- The time that a test has set, if whoever set it may: a member of the owner of the schema.
-- Both roles count: inside a security definer function current_user is the owner always.
create function _procrastinate_travelled_now()
returns timestamptz
language plpgsql stable parallel safe
set search_path from current
as $$
declare
    v_owner oid := (
        select c.relowner from pg_class as c where c.oid = 'procrastinate_jobs'::regclass
    );
begin
    if pg_has_role(session_user, v_owner, 'member')
        and pg_has_role(current_user, v_owner, 'member')
    then
        return current_setting('procrastinate.now')::timestamptz;
    end if;
    return now();
end;
$$;

comment on function _procrastinate_travelled_now() is
'The setting procrastinate.now for members of the owner of the schema, else now().';

-- Blocked heads become ready, or delayed, and the queue of each is told: of one that was
-- ready before, because whoever met it while its lock was changing hands has left it; of
-- one that is delayed, because its time may have come since this transaction began.
--
-- Also of one that is ready, and was never blocked, it is written down what is known of its
-- line: else whoever claims it reads that from its start, over all dead rows that an old
-- snapshot keeps.
--
-- p_heads as next_heads has them: oldest transaction not seen, last claim, jobs.
create function _procrastinate_unblock(p_heads bigint[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    update procrastinate_todo as t
    set
        state = case
            when t.state::text <> 'b' then t.state
            when t.scheduled_at > procrastinate_now() then 'd'
            else 'a'
        end::"char",
        since = case when t.state::text <> 'b' then t.since else pg_current_xact_id() end,
        head_xmin = p_heads[1]::text::xid8,
        free_after = p_heads[2]
    where
        t.job_id = any(p_heads[3:])
        and (t.state::text = 'b' or t.state::text = 'r' and t.head_xmin is null);

    perform _procrastinate_tell(t.queue_name, min(t.priority), min(t.job_id))
    from procrastinate_todo as t
    where t.job_id = any(p_heads[3:])
    group by t.queue_name;
    return true;
end;
$$;

comment on function _procrastinate_unblock(bigint[]) is
'blocked -> ready or delayed for these heads of locks that nobody holds.';

-- delayed -> ready again for what fell due in these queues, a bounded number; true: more is
-- due.
create function _procrastinate_wake_due(p_queues text[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_now constant timestamptz := procrastinate_now();
    v_max constant integer := 1000;
    v_due bigint[];
begin
    select array_agg(x.job_id) into v_due
    from (
        select d.job_id
        from unnest(p_queues) as q (queue_name)
        cross join lateral (
            select t.job_id
            from procrastinate_todo as t
            where
                t.state = 'd'
                and t.queue_name = q.queue_name
                and t.scheduled_at <= v_now
            order by t.scheduled_at
            limit v_max
        ) as d
        limit v_max
    ) as x;
    if v_due is null then
        return false;
    end if;
    update procrastinate_todo as t
    set
        state = 'a',
        since = pg_current_xact_id(),
        lock = coalesce(t.lock, t.due_lock),
        due_lock = null
    where
        t.job_id = any(array(
            select x.job_id
            from procrastinate_todo as x
            where x.job_id = any(v_due)
            for no key update skip locked
        ))
        and t.state::text = 'd'
        and t.scheduled_at <= v_now;
    return cardinality(v_due) >= v_max;
end;
$$;

comment on function _procrastinate_wake_due(text[]) is
'Makes ready what fell due in these queues, at most 1000; true if there is more.';

-- One walk over the pairs of queue and priority from the highest priority down. Locks the
-- rows of the jobs that may run, for finish_and_fetch. Raises the marks over what it has
-- locked or parked (and to p_passed where all was seen), never over what it skipped.
create function _procrastinate_walk(
    p_queues text[],
    p_priorities integer[],
    inout p_fresh bigint[],
    p_passed bigint[],
    inout p_again bigint[],
    inout p_job_ids bigint[],
    p_limit integer,
    p_handed bigint[],
    out o_contended boolean, out o_more boolean, out o_locks boolean
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_wide constant boolean := array_position(p_priorities, null) is not null;
    v_count constant integer := cardinality(p_queues);
    v_budget integer := current_setting('max_locks_per_transaction')::integer / 2;
    v_rounds integer := 0;
    v_want integer := p_limit - cardinality(p_job_ids);
    v_take integer;
    v_from integer;
    v_to integer := 0;
    v_read integer := 0;  -- pairs of which all was seen
    v_seen record;
    v_heads record;
    v_left record;
    v_try bigint[];
    v_known bigint[] := p_handed[3:];  -- heads of locks whose keys are in hand
    v_before constant bigint[] := p_job_ids;
    v_got bigint[];
    v_pass bigint[] := '{}'::bigint[];  -- left where they are: others', or over the budget
begin
    o_contended := false;
    o_more := false;
    o_locks := false;
    if p_handed is not null and v_before <> '{}' then
        p_handed := p_handed[:2] || _procrastinate_without(p_handed[3:], v_before);
    end if;
    while v_to < v_count loop
        v_from := v_to + 1;
        v_to := case when v_wide then v_count else v_from end;
        while v_to < v_count and p_priorities[v_to + 1] = p_priorities[v_from] loop
            v_to := v_to + 1;
        end loop;
        v_take := v_want;
        loop
            v_rounds := v_rounds + 1;
            if v_wide then
                v_seen := _procrastinate_see_wide(
                    p_queues, v_take, v_pass || p_job_ids, p_handed
                );
            elsif v_from = v_to then
                v_seen := _procrastinate_see_queue(
                    p_queues[v_from], p_priorities[v_from], p_fresh[v_from],
                    p_again[v_from], v_take, v_before, p_handed
                );
            else
                v_seen := _procrastinate_see_queues(
                    p_queues[v_from:v_to], p_priorities[v_from], p_fresh[v_from:v_to],
                    p_again[v_from:v_to], v_take, v_before, p_handed
                );
            end if;
            exit when v_seen.o_seen = 0;
            if p_handed is not null then  -- no mark is raised over them
                p_handed := p_handed[:2]
                    || _procrastinate_without(p_handed[3:], v_seen.o_free);
            end if;
            v_try := v_seen.o_free;
            if v_seen.o_locked is not null then
                o_locks := true;
                v_heads := _procrastinate_take_heads(
                    v_seen.o_locked, v_seen.o_locks, p_job_ids, v_budget
                );
                v_budget := v_heads.p_budget;
                v_try := v_try || v_heads.o_heads;
                v_known := v_known || v_heads.o_heads;
                o_contended := o_contended or v_heads.o_busy is not null;
                v_pass := v_pass || v_heads.o_over || v_heads.o_busy;
            end if;
            if cardinality(v_try) > v_want then  -- having looked further than there is room
                v_got := _procrastinate_first_of(v_try, v_want);
                v_pass := v_pass || _procrastinate_without(v_try, v_got);
                v_try := v_got;
            end if;
            if cardinality(v_try) > 0 then
                v_got := array(
                    select x.id
                    from procrastinate_jobs as x
                    where  -- as it is now: it may have changed since it was seen
                        x.id = any(v_try) and x.status = 'todo'
                        and x.queue_name = any(p_queues)
                        and coalesce(x.scheduled_at <= procrastinate_now(), true)
                        and (x.lock is null or x.id = any(v_known))
                    for no key update skip locked
                );
                p_job_ids := p_job_ids || v_got;
                v_want := v_want - cardinality(v_got);
                if cardinality(v_try) > cardinality(v_got) then
                    o_contended := true;
                    v_pass := v_pass || _procrastinate_without(v_try, v_got);
                end if;
            end if;
            if not v_wide then
                for i in v_from .. v_to loop
                    p_fresh[i] := greatest(p_fresh[i], v_seen.o_fresh[i - v_from + 1] + 1);
                    p_again[i] := greatest(p_again[i], v_seen.o_again[i - v_from + 1] + 1);
                end loop;
            end if;
            exit when v_want <= 0;
            o_more := v_budget <= 0 or v_rounds >= 20;
            exit when o_more or v_seen.o_seen < v_take;
            -- all met were parked or left: look further, up to some thousands a call
            v_take := least(greatest(v_take * 4, v_want), 4000);
        end loop;
        exit when v_want <= 0 or o_more;
        v_read := v_to;
    end loop;
    for i in 1 .. least(v_read, coalesce(cardinality(p_passed), 0)) loop
        p_fresh[i] := greatest(p_fresh[i], p_passed[i]);
    end loop;
    if cardinality(v_pass) > 0 then
        for v_left in
            select
                t.queue_name, t.priority,
                min(t.job_id) filter (where t.state = 'r') as fresh,
                min(t.job_id) filter (where t.state = 'a') as again
            from procrastinate_todo as t
            where t.job_id = any(v_pass)
            group by t.queue_name, t.priority
        loop
            v_from := array_position(p_queues, v_left.queue_name::text);
            while v_from is not null loop
                if p_priorities[v_from] = v_left.priority then
                    p_fresh[v_from] := least(p_fresh[v_from], v_left.fresh);
                    p_again[v_from] := least(p_again[v_from], v_left.again);
                end if;
                v_from := array_position(p_queues, v_left.queue_name::text, v_from + 1);
            end loop;
        end loop;
    end if;
end;
$$;

comment on function _procrastinate_walk(
    text[], integer[], bigint[], bigint[], bigint[], bigint[], integer, bigint[]
) is 'Locks what may run along these pairs of queue and priority; raises the marks.';

-- These ids but for others: in linear time, where a filter by an array is quadratic.
create function _procrastinate_without(p_ids bigint[], p_others bigint[])
returns bigint[]
language plpgsql immutable parallel safe
set search_path from current
as $$
begin
    return array(
        select i.id from unnest(p_ids) as i (id)
        except
        select o.id from unnest(p_others) as o (id)
    );
end;
$$;

comment on function _procrastinate_without(bigint[], bigint[]) is
'These ids but for others; each once.';

-- Whoever waits for jobs says so, again and again while it does: for the next minute their
-- ends are announced. Returns until when; null where that can't be written down just now: a
-- standby, a transaction that only reads or keeps its snapshot, a row that somebody holds.
-- All share one row, and who was there just now has written it.
--
-- A transaction that ends a job and looked at the row before is not held up for this: it
-- may pass without a word, so look at the jobs again soon after.
create function procrastinate_announce_ends_v1()
returns timestamptz
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
declare
    -- not procrastinate_now(): who travels in time waits in this one
    v_now constant timestamptz := clock_timestamp();
    v_until timestamptz;
begin
    if current_setting('transaction_read_only')::boolean
        or current_setting('transaction_isolation') in ('repeatable read', 'serializable')
    then
        return null;
    end if;
    insert into procrastinate_announcements (ends_until)
    select v_now
    where not exists (select from procrastinate_announcements)
    on conflict (id) do nothing;
    select a.ends_until into v_until from procrastinate_announcements as a;
    if v_until > v_now + interval '30 seconds' then
        return v_until;
    end if;
    update procrastinate_announcements as a
    set ends_until = v_now + interval '1 minute'
    where
        a.id in (
            select x.id from procrastinate_announcements as x for no key update skip locked
        )
    returning a.ends_until into v_until;
    return v_until;
end;
$$;

comment on function procrastinate_announce_ends_v1() is
'Lets the ends of jobs be announced for a minute; returns until when.';

-- The channels on which a worker of these queues is told of jobs.
create function procrastinate_channels_v1(p_queues text[])
returns setof text
language plpgsql immutable parallel safe
set search_path from current
as $$
begin
    if p_queues is null then
        return next 'procrastinate_any_queue_v1';
        return;
    end if;
    return query
    select distinct _procrastinate_channel(q.queue_name) as channel
    from unnest(p_queues) as q (queue_name)
    where q.queue_name is not null
    order by channel;
end;
$$;

comment on function procrastinate_channels_v1(text[]) is
'Channels to LISTEN on for these queues; null: the one for all queues.';

-- – -> todo for many jobs, all or nothing.
create function procrastinate_defer_jobs_v2(
    p_queue_names text[],
    p_task_names text[],
    p_priorities integer[],
    p_locks text[],
    p_queueing_locks text[],
    p_args jsonb[],
    p_scheduled_ats timestamptz[]
)
returns setof bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    return query
    select x.id
    from _procrastinate_defer_jobs(
        p_queue_names, p_task_names, p_priorities, p_locks, p_queueing_locks, p_args,
        p_scheduled_ats
    ) as x (id);
end;
$$;

comment on function procrastinate_defer_jobs_v2(
    text[], text[], integer[], text[], text[], jsonb[], timestamptz[]
) is 'Defers jobs, all or none; ids in the order given. Raises PQ003, unique_violation.';

-- – -> todo for many jobs with options, all or nothing.
create function procrastinate_defer_jobs_v3(
    p_queue_names text[],
    p_task_names text[],
    p_priorities integer[],
    p_locks text[],
    p_queueing_locks text[],
    p_args jsonb[],
    p_scheduled_ats timestamptz[],
    p_options jsonb[]
)
returns setof bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
declare
    v_ids bigint[];
begin
    perform
        _procrastinate_check_jobs(p_queue_names, p_task_names, p_args, array[
            cardinality(p_priorities), cardinality(p_locks), cardinality(p_queueing_locks),
            cardinality(p_scheduled_ats), cardinality(p_options)
        ]),
        _procrastinate_check_options(p_options, p_locks);
    v_ids := array(
        select nextval('procrastinate_jobs_id_seq')
        from generate_series(1, cardinality(p_queue_names))
    );
    perform _procrastinate_defer_with_options(
        p_queue_names, p_task_names, p_priorities, p_locks, p_queueing_locks, p_args,
        p_scheduled_ats, p_options, v_ids
    );
    return query select i.id from unnest(v_ids) with ordinality as i (id, nr) order by i.nr;
end;
$$;

comment on function procrastinate_defer_jobs_v3(
    text[], text[], integer[], text[], text[], jsonb[], timestamptz[], jsonb[]
) is 'Defers jobs with options, all or none; ids in the order given. Raises PQ003, 23505.';

-- – -> todo for one tick of a periodic task, once.
create function procrastinate_defer_periodic_job_v3(
    p_task_name text,
    p_periodic_id text,
    p_defer_timestamp bigint,
    p_queue_name text,
    p_priority integer,
    p_lock text,
    p_queueing_lock text,
    p_args jsonb
)
returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    perform _procrastinate_check_tick(
        p_task_name, p_periodic_id, p_defer_timestamp, p_queue_name, p_args
    );
    return _procrastinate_defer_periodic(
        p_task_name, coalesce(p_periodic_id, ''), p_defer_timestamp, p_queue_name,
        p_priority, p_lock, p_queueing_lock, p_args, null
    );
end;
$$;

comment on function procrastinate_defer_periodic_job_v3(
    text, text, bigint, text, integer, text, text, jsonb
) is
'Defers one tick of a periodic task: its job, or null if the tick was taken. Raises PQ003.';

-- – -> todo for one tick of a periodic task with options, once.
create function procrastinate_defer_periodic_job_v4(
    p_task_name text,
    p_periodic_id text,
    p_defer_timestamp bigint,
    p_queue_name text,
    p_priority integer,
    p_lock text,
    p_queueing_lock text,
    p_args jsonb,
    p_options jsonb
)
returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    perform
        _procrastinate_check_tick(
            p_task_name, p_periodic_id, p_defer_timestamp, p_queue_name, p_args
        ),
        _procrastinate_check_options(array[p_options], array[p_lock]);
    return _procrastinate_defer_periodic(
        p_task_name, coalesce(p_periodic_id, ''), p_defer_timestamp, p_queue_name,
        p_priority, p_lock, p_queueing_lock, p_args, p_options
    );
end;
$$;

comment on function procrastinate_defer_periodic_job_v4(
    text, text, bigint, text, integer, text, text, jsonb, jsonb
) is 'Defers one tick of a periodic task with options; null if it was taken. Raises PQ003.';

-- doing -> todo or failed, as each job's data says, for jobs past their timeout or
-- heartbeat whose worker is gone or silent. A worker that lives ends its own: two never run
-- one job.
create function procrastinate_expire_jobs_v1(
    p_older_than interval, p_max_jobs integer default 1000
)
returns table (job_id bigint, outcome text, status procrastinate_job_status)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := procrastinate_now();
    v_job record;
    v_jobs bigint[];
begin
    perform _procrastinate_clear_derived();
    if coalesce(p_older_than, '-1') < interval '0' or coalesce(p_max_jobs, 0) < 1 then
        perform _procrastinate_raise('PQ003',
            'Expiring needs an age and a number of jobs',
            format('Age %s, number %s.', coalesce(p_older_than::text, 'null'),
                coalesce(p_max_jobs::text, 'null')),
            'Give the age of the last heartbeat from which a worker counts as stalled.');
    end if;
    v_jobs := array(
        select j.id
        from procrastinate_jobs as j
        where
            j.id = any(array(
                select d.job_id
                from procrastinate_doing as d
                left join procrastinate_workers as w on w.id = d.worker_id
                where
                    least(d.deadline_at, d.heartbeat_at) < v_now
                    and coalesce(w.last_heartbeat < v_now - p_older_than, true)
            ))
            and j.status = 'doing'
        order by j.id
        limit p_max_jobs
        for no key update skip locked
    );
    perform _procrastinate_lock_jobs(v_jobs, '{}');
    for v_job in
        select
            d.job_id, d.claim_id, coalesce(d.worker_id, 0) as worker_id,
            case when d.heartbeat_at < v_now then 'heartbeat' else 'timeout' end as missed
        from procrastinate_doing as d
        where
            d.job_id = any(v_jobs)
            and least(d.deadline_at, d.heartbeat_at) < v_now
        order by d.job_id
    loop
        continue when _procrastinate_fail_by_policy(
            v_job.worker_id, v_job.job_id, v_job.claim_id,
            jsonb_build_object(
                'class', 'procrastinate.exceptions.JobTimeout',
                'message',
                format('Its %s has passed, and its worker is gone or silent', v_job.missed)
            ),
            false
        ) is not true;
        job_id := v_job.job_id;
        status := (select j.status from procrastinate_jobs as j where j.id = v_job.job_id);
        outcome := case when status = 'todo' then 'retried' else status::text end;
        return next;
    end loop;
end;
$$;

comment on function procrastinate_expire_jobs_v1(interval, integer) is
'doing -> todo or failed for jobs past their time whose worker is silent. Raises PQ003.';

-- doing -> todo or failed: runs that failed, of jobs whose data says how often and when
-- they are tried again. With the error of each attempt.
create function procrastinate_fail_jobs_v1(
    p_worker_id bigint,
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_errors jsonb[],
    p_delete boolean[]
)
returns table (job_id bigint, outcome text, status procrastinate_job_status)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_job record;
    v_held boolean;
begin
    perform _procrastinate_clear_derived();
    perform _procrastinate_check_report(
        p_worker_id, 0, p_job_ids, p_claim_ids,
        array_fill(
            'failed'::procrastinate_job_status, array[coalesce(cardinality(p_job_ids), 0)]
        ),
        p_delete
    );
    v_held := _procrastinate_lock_jobs(p_job_ids, '{}');
    for v_job in
        select u.job_id, u.claim_id, u.error, u.gone
        from unnest(p_job_ids, p_claim_ids, p_errors, p_delete) as u (
            job_id, claim_id, error, gone
        )
        where u.job_id is not null
        order by u.job_id
    loop
        job_id := v_job.job_id;
        v_held := _procrastinate_fail_by_policy(
            p_worker_id, v_job.job_id, v_job.claim_id, v_job.error,
            coalesce(v_job.gone, false)
        );
        status := (select j.status from procrastinate_jobs as j where j.id = v_job.job_id);
        outcome := case
            when v_held is not true then 'not_held'
            when status = 'todo' then 'retried'
            else 'failed'
        end;
        return next;
    end loop;
end;
$$;

comment on function procrastinate_fail_jobs_v1(
    bigint, bigint[], bigint[], jsonb[], boolean[]
) is 'doing -> todo or failed for these claims, as each job''s data says. Raises PQ003.';

-- todo -> doing: a worker's next jobs.
create function procrastinate_fetch_jobs_v1(
    p_worker_id bigint,
    p_queues text[],
    p_limit integer,
    p_marks bigint[] default null
)
returns setof procrastinate_exchange_v1
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    return query
    select
        e.outcome, e.job_id, e.claim_id, e.status, e.queue_name, e.task_name, e.priority,
        e.lock, e.queueing_lock, e.args, e.scheduled_at, e.attempts, e.abort_requested,
        e.next_due_in, e.contended, e.more, e.marks, e.options
    from procrastinate_finish_and_fetch_v1(
        p_worker_id, p_queues, p_limit, p_marks, '{}', '{}', '{}', '{}'
    ) as e;
end;
$$;

comment on function procrastinate_fetch_jobs_v1(bigint, text[], integer, bigint[]) is
'todo -> doing for at most p_limit jobs, then a summary row. Raises PQ003, PQ004, PQ005.';

-- The newest job of each of these keys, whatever its status.
create function procrastinate_find_keys_v1(p_keys text[])
returns table (key text, job_id bigint)
language plpgsql stable parallel safe security definer
set search_path from current
as $$
#variable_conflict use_column
begin
    return query
    select u.key, j.id
    from (select distinct x.key from unnest(p_keys) as x (key)) as u
    cross join lateral (
        select x.id
        from procrastinate_jobs as x
        where x.key = u.key
        order by x.id desc
        limit 1
    ) as j
    order by j.id;
end;
$$;

comment on function procrastinate_find_keys_v1(text[]) is
'The newest job of each key; no row for a key that no job has.';

-- doing -> ended for what a worker reports, todo -> doing for what fits in its free slots:
-- one round trip. Ends that are not answered were applied; not_held ones changed nothing.
--
-- It runs for every job, and most of its cost is to set up statements, expressions and
-- calls, so the usual way has few of each: docs/decisions/0067-few-statements.md.
create function procrastinate_finish_and_fetch_v1(
    p_worker_id bigint,
    p_queues text[],
    p_limit integer,
    p_marks bigint[],
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_statuses procrastinate_job_status[],
    p_delete boolean[]
)
returns setof procrastinate_exchange_v1
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
    v_outer constant text := current_setting('procrastinate.derived', true);
    v_now constant timestamptz := procrastinate_now();
    v_ended record;
    v_next record;
    v_released procrastinate_doing[];
    v_started integer;
    v_ok boolean;
begin
    v_ok := p_worker_id is not null and p_limit between 0 and 10000
        and p_statuses[1] in ('succeeded', 'failed', 'aborted')
        and p_statuses[1] = all(p_statuses)
        and cardinality(p_job_ids) = cardinality(p_statuses)
        and cardinality(p_job_ids) = cardinality(p_claim_ids)
        and coalesce(cardinality(p_delete), 0) in (0, cardinality(p_job_ids))
        and (true = any(p_delete)) is not true
        and array_position(p_job_ids || p_claim_ids, null) is null;
    if v_ok is not true then  -- not a usual report: none, mixed, or wrong
        v_ok := not _procrastinate_check_report(
            p_worker_id, p_limit, p_job_ids, p_claim_ids, p_statuses, p_delete
        );
    end if;
    -- jobs that are updated here, and what is derived from them, are written together
    v_ok := set_config('procrastinate.derived', pg_trigger_depth()::text, true) is not null
        and v_ok;
    if v_ok or cardinality(p_job_ids) > 0 then
        if v_ok then
            v_ended := _procrastinate_end_alike(
                p_worker_id, p_job_ids, p_claim_ids, p_statuses[1], v_now
            );
        else
            v_ended := _procrastinate_end_jobs(
                p_worker_id, p_job_ids, p_claim_ids, p_statuses, p_delete, v_now
            );
        end if;
        v_released := nullif(v_ended.o_released, '{}');
        if cardinality(p_job_ids) > cardinality(v_ended.o_ended) then
            return query
            select
                n.outcome, n.job_id, n.claim_id, n.status, n.queue_name, n.task_name,
                n.priority, n.lock, n.queueing_lock, n.args, n.scheduled_at, n.attempts,
                n.abort_requested, n.next_due_in, n.contended, n.more, n.marks, n.options
            from _procrastinate_not_held(p_job_ids, p_claim_ids, v_ended.o_ended) as n;
        end if;
    end if;

    v_next := _procrastinate_pick_next(
        p_worker_id, p_queues, p_limit, p_marks, v_released, v_now
    );
    if v_next.o_job_ids <> '{}' then
        return query
        with mine as (
            update procrastinate_jobs as j
            set status = 'doing', worker_id = p_worker_id
            from procrastinate_todo as t
            where
                t.job_id = any(v_next.o_job_ids)
                and j.id = t.job_id
                and j.id = any(v_next.o_job_ids)
            returning
                j.id, j.status, j.queue_name, j.task_name, j.priority, j.lock,
                j.queueing_lock, j.args, j.scheduled_at, j.attempts, j.abort_requested,
                j.timeout, j.heartbeat, t.head_xmin,
                case when num_nonnulls(j.timeout, j.heartbeat, j.ttl, j.max_attempts, j.key,
                    j.group_key, j.retry_delay, j.keep_result) > 0
                    then _procrastinate_options_of(j) end as options,
                -- else a user's trigger has made something else of it
                j.status = 'doing' and j.lock is not distinct from t.lock as plain,
                nextval('procrastinate_claims_seq') as claim_id
        ),
        gone as (
            delete from procrastinate_todo as t
            where t.job_id = any(array(select m.id from mine as m where m.plain))
        ),
        started as (
            insert into procrastinate_doing (
                job_id, claim_id, worker_id, head_xmin, started_at, deadline_at,
                heartbeat_at, priority, lock
            )
            select
                m.id, m.claim_id, p_worker_id,
                case
                    when m.lock is null then null
                    when m.id = any(v_next.o_heads[3:]) then v_next.o_heads[1]::text::xid8
                    -- or it was found to be the first later than that
                    else coalesce(m.head_xmin, v_next.o_marks[1]::text::xid8)
                end,
                v_now, v_now + m.timeout, v_now + m.heartbeat, m.priority, m.lock
            from mine as m
            where m.plain
        ),
        told as (
            insert into procrastinate_events (job_id, type, at, attempt, by_worker_id)
            select m.id, 'started', v_now, m.attempts, p_worker_id
            from mine as m
            where m.plain
        )
        select
            'claimed'::text, m.id, m.claim_id, m.status, m.queue_name, m.task_name,
            m.priority, m.lock, m.queueing_lock, m.args, m.scheduled_at, m.attempts,
            m.abort_requested, null::double precision, null::boolean, null::boolean,
            null::bigint[], m.options
        from mine as m
        where m.plain
        order by m.priority desc, m.id;
        get diagnostics v_started = row_count;
        if v_started < cardinality(v_next.o_job_ids) then
            v_ok := _procrastinate_changed_otherwise(v_next.o_job_ids, 'todo');
        end if;
    end if;
    if not v_next.o_heads[3:] <@ v_next.o_job_ids then
        v_ok := _procrastinate_unblock(v_next.o_heads);
    end if;
    v_ok := set_config('procrastinate.derived', coalesce(v_outer, ''), true) is null;
    return next row(
        'summary', null, null, null, null, null, null, null, null, null, null, null, null,
        v_next.o_next_due_in, v_next.o_contended, v_next.o_more, v_next.o_marks, null
    )::procrastinate_exchange_v1;
end;
$$;

comment on function procrastinate_finish_and_fetch_v1(
    bigint, text[], integer, bigint[], bigint[], bigint[], procrastinate_job_status[],
    boolean[]
) is
'doing -> ended for a report, todo -> doing for free slots. Raises PQ003, PQ004, PQ005.';

-- As v1, with what the ended jobs leave: results, kept for the job's ttl, and errors, kept
-- in the history. A result that is too large makes its job fail, and its error says so: the
-- outcome too_large tells the worker.
create function procrastinate_finish_and_fetch_v2(
    p_worker_id bigint,
    p_queues text[],
    p_limit integer,
    p_marks bigint[],
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_statuses procrastinate_job_status[],
    p_delete boolean[],
    p_results jsonb[],
    p_errors jsonb[]
)
returns setof procrastinate_exchange_v1
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_largest constant integer := _procrastinate_max_result_size();
    v_kept record;
    v_too_large bigint[] := array[]::bigint[];
    v_answer procrastinate_exchange_v1;
    v_ok boolean;
begin
    if cardinality(p_job_ids)
        < greatest(cardinality(p_results), cardinality(p_errors))
    then
        perform _procrastinate_raise('PQ003', 'There are more results than ended jobs',
            format('%s jobs, %s results, %s errors.', cardinality(p_job_ids),
                cardinality(p_results), cardinality(p_errors)),
            'Give at most one result and one error for each job.');
    end if;
    -- none is larger than all of them
    for v_nr in 1..case when pg_column_size(p_results) > v_largest
        then cardinality(p_results) else 0 end
    loop
        continue when coalesce(pg_column_size(p_results[v_nr]), 0) <= v_largest;
        p_statuses[v_nr] := 'failed';
        p_errors[v_nr] := jsonb_build_object(
            'class', 'procrastinate.exceptions.ResultTooLarge',
            'message', format('The result has %s bytes: at most %s are allowed',
                pg_column_size(p_results[v_nr]), v_largest)
        );
        p_results[v_nr] := null;
        v_too_large := v_too_large || p_job_ids[v_nr];
    end loop;

    v_kept := _procrastinate_store_results(
        p_worker_id, p_job_ids, p_claim_ids, p_statuses, p_results, p_errors,
        procrastinate_now()
    );
    return query
    select
        e.outcome, e.job_id, e.claim_id, e.status, e.queue_name, e.task_name, e.priority,
        e.lock, e.queueing_lock, e.args, e.scheduled_at, e.attempts, e.abort_requested,
        e.next_due_in, e.contended, e.more, e.marks, e.options
    from procrastinate_finish_and_fetch_v1(
        p_worker_id, p_queues, p_limit, p_marks, p_job_ids, p_claim_ids, p_statuses,
        p_delete
    ) as e;
    for v_nr in 1..cardinality(v_too_large) loop
        continue when not v_too_large[v_nr] = any(v_kept.o_held);
        v_answer.outcome := 'too_large';
        v_answer.job_id := v_too_large[v_nr];
        v_answer.status := 'failed';
        return next v_answer;
    end loop;
    if array_remove(p_errors, null) <> '{}' then
        perform _procrastinate_note_errors(u.ids, u.errors)
        from (
            select array_agg(x.job_id) as ids, array_agg(x.error) as errors
            from unnest(p_job_ids, p_errors) as x (job_id, error)
            where x.error is not null and x.job_id = any(v_kept.o_held)
        ) as u;
    end if;
    v_ok := _procrastinate_tell_ended(v_kept.o_stored);
end;
$$;

comment on function procrastinate_finish_and_fetch_v2(
    bigint, text[], integer, bigint[], bigint[], bigint[], procrastinate_job_status[],
    boolean[], jsonb[], jsonb[]
) is
'finish_and_fetch with results and errors of what ended. Raises PQ003, PQ004, PQ005.';

-- doing -> succeeded, failed or aborted (or gone), for the claims that still hold their
-- job.
create function procrastinate_finish_jobs_v1(
    p_worker_id bigint,
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_statuses procrastinate_job_status[],
    p_delete boolean[]
)
returns table (job_id bigint, outcome text, status procrastinate_job_status)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_outer constant text := current_setting('procrastinate.derived', true);
    v_part record;
begin
    perform _procrastinate_check_report(
        p_worker_id, 0, p_job_ids, p_claim_ids, p_statuses, p_delete
    );
    perform set_config('procrastinate.derived', pg_trigger_depth()::text, true);
    v_part := _procrastinate_end_jobs(
        p_worker_id, p_job_ids, p_claim_ids, p_statuses, p_delete, procrastinate_now()
    );
    perform set_config('procrastinate.derived', coalesce(v_outer, ''), true);
    if v_part.o_released <> '{}' then
        perform _procrastinate_promote(v_part.o_released, '{}');
    end if;
    return query
    select
        u.job_id,
        case when u.job_id = any(v_part.o_ended) then 'finished' else 'not_held' end,
        j.status
    from unnest(p_job_ids) with ordinality as u (job_id, nr)
    left join procrastinate_jobs as j on j.id = u.job_id
    order by u.nr;
end;
$$;

comment on function procrastinate_finish_jobs_v1(
    bigint, bigint[], bigint[], procrastinate_job_status[], boolean[]
) is 'doing -> ended for these claims; an outcome for each job. Raises PQ003.';

-- What is known of these jobs: a row for each that exists or has left a result. A result
-- that has expired is none any more, whether it was purged or not.
create function procrastinate_get_results_v1(p_job_ids bigint[])
returns table (
    job_id bigint,
    status procrastinate_job_status,
    attempts integer,
    stored boolean,
    result jsonb,
    error jsonb,
    progress double precision,
    meta jsonb,
    updated_at timestamptz,
    expires_at timestamptz,
    keeps boolean
)
language plpgsql stable parallel safe security definer
set search_path from current
as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := procrastinate_now();
begin
    return query
    select
        u.id, coalesce(j.status, r.status), j.attempts, r.status is not null, r.result,
        r.error, r.progress, r.meta, r.updated_at, r.expires_at,
        coalesce(j.ttl >= interval '0', r.status is not null)
    from (select distinct x.id from unnest(p_job_ids) as x (id)) as u
    left join procrastinate_jobs as j on j.id = u.id
    left join procrastinate_results as r
        on r.job_id = u.id and (r.expires_at <= v_now) is not true
    where coalesce(j.id, r.job_id) is not null
    order by u.id;
end;
$$;

comment on function procrastinate_get_results_v1(bigint[]) is
'Status, result, error, progress and meta of these jobs; keeps: whether it has a ttl.';

-- procrastinate_heartbeat_v2 for all that the worker holds.
create function procrastinate_heartbeat_v1(p_worker_id bigint, p_run text default null)
returns table (job_id bigint, claim_id bigint, abort_requested boolean)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    return query
    select h.job_id, h.claim_id, h.abort_requested
    from procrastinate_heartbeat_v2(p_worker_id, p_run) as h;
end;
$$;

comment on function procrastinate_heartbeat_v1(bigint, text) is
'Beats for a worker and lists the claims that it holds. Raises PQ004 (not registered).';

-- A worker lives; what it holds, for it to compare with what it runs: of the jobs that it
-- names, or of all.
--
-- To look for all reads procrastinate_doing from end to end, and what is gone with it while
-- somebody's snapshot keeps that from vacuum: docs/decisions/0141-a-beat-names-its-jobs.md.
--
-- After a failover that lost the last transactions an id may be given out again. A worker
-- that said "run" of itself when it registered, and says it here, is told that this row is
-- another's.
create function procrastinate_heartbeat_v2(
    p_worker_id bigint, p_run text default null, p_job_ids bigint[] default null
)
returns table (job_id bigint, claim_id bigint, abort_requested boolean)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_nestloop = off  -- a filter by an array is quadratic; both sides come in order
set jit = off
as $$
#variable_conflict use_column
begin
    update procrastinate_workers as w
    set last_heartbeat = procrastinate_now()
    where
        w.id = p_worker_id
        and (p_run is null or w.description ->> 'run' = p_run);
    if not found then
        perform _procrastinate_raise('PQ004',
            format('Worker %s is not registered', p_worker_id),
            'It was pruned because its heartbeat stopped, it has unregistered, or its id '
            'is another worker''s after a failover.',
            'Register again with procrastinate_register_worker_v2.');
    end if;
    if p_job_ids is null then
        p_job_ids := array(
            select h.job_id
            from procrastinate_doing as h
            where h.worker_id = p_worker_id
        );
    end if;
    return query
    select d.job_id, d.claim_id, j.abort_requested
    from procrastinate_doing as d
    join (
        select x.id, x.abort_requested
        from procrastinate_jobs as x
        where x.id = any(p_job_ids)
    ) as j on j.id = d.job_id
    where d.job_id = any(p_job_ids) and d.worker_id = p_worker_id
    order by d.job_id;
end;
$$;

comment on function procrastinate_heartbeat_v2(bigint, text, bigint[]) is
'Beats for a worker; its claims of these jobs, or all. Raises PQ004 (not registered).';

-- procrastinate_list_jobs_to_abort_v2 for all that the worker runs.
create function procrastinate_list_jobs_to_abort_v1(p_worker_id bigint)
returns setof bigint
language plpgsql stable parallel safe security definer
set search_path from current
as $$
begin
    return query select procrastinate_list_jobs_to_abort_v2(p_worker_id);
end;
$$;

comment on function procrastinate_list_jobs_to_abort_v1(bigint) is
'Ids of the jobs of a worker that were asked to abort.';

-- Of the jobs that a worker names, or of all that it runs, those that were asked to abort.
-- For all it reads procrastinate_doing from end to end, as procrastinate_heartbeat_v2 does.
create function procrastinate_list_jobs_to_abort_v2(
    p_worker_id bigint, p_job_ids bigint[] default null
)
returns setof bigint
language plpgsql stable parallel safe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_nestloop = off  -- a filter by an array is quadratic; both sides come in order
set jit = off
as $$
begin
    if p_job_ids is null then
        p_job_ids := array(
            select h.job_id
            from procrastinate_doing as h
            where h.worker_id = p_worker_id
        );
    end if;
    return query
    select d.job_id
    from procrastinate_doing as d
    join (
        select x.id
        from procrastinate_jobs as x
        where x.id = any(p_job_ids) and x.abort_requested
    ) as j on j.id = d.job_id
    where d.job_id = any(p_job_ids) and d.worker_id = p_worker_id
    order by d.job_id;
end;
$$;

comment on function procrastinate_list_jobs_to_abort_v2(bigint, bigint[]) is
'Of these jobs of a worker, or of all, the ids of those that were asked to abort.';

-- The transactions that may have written a job and are not seen yet: they hold the lock
-- that every statement which writes todo takes first, and which goes after the commit.
--
-- A prepared transaction has no pid, and keeps the lock until it is committed.
create function procrastinate_list_writers_v1()
returns table (pid integer, virtual_transaction text)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    return query
    select distinct l.pid, l.virtualtransaction
    from pg_locks as l
    where
        l.locktype = 'relation'
        and l.relation = 'procrastinate_todo'::regclass
        and l.database = (
            select d.oid from pg_database as d where d.datname = current_database()
        )
        and l.mode = 'RowExclusiveLock'
        and l.granted;
end;
$$;

comment on function procrastinate_list_writers_v1() is
'Transactions that may have written jobs which nobody sees yet, as pg_locks shows them.';

-- Removes the workers whose heartbeat stopped.
create function procrastinate_prune_workers_v1(p_older_than interval)
returns setof bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
begin
    perform _procrastinate_clear_derived();
    if p_older_than is null or p_older_than < interval '0' then
        perform _procrastinate_raise('PQ003',
            format('The age of a stalled worker is %s',
                coalesce(p_older_than::text, 'null')),
            null,
            'Give the age of the last heartbeat from which a worker counts as stalled.');
    end if;
    return query
    select w.id
    from _procrastinate_remove_workers(null, p_older_than) as w (id);
end;
$$;

comment on function procrastinate_prune_workers_v1(interval) is
'Removes the workers whose heartbeat is older than this; returns their ids. Raises PQ003.';

-- doing -> todo or failed, attempts + 1, for jobs of these tasks whose worker is gone or
-- silent. A task has a number of attempts after which its jobs fail instead of being tried
-- again: none for ever, 0 at once. Jobs of other tasks are left: they may be another
-- program's, which knows better.
--
-- The claim goes with it, so that a late finish of that worker changes nothing. A job that
-- was asked to abort, or whose queueing lock is taken, fails in any case.
create function procrastinate_recover_jobs_v1(
    p_older_than interval,
    p_task_names text[],
    p_max_attempts integer[],
    p_max_jobs integer default 1000
)
returns table (job_id bigint, outcome text, status procrastinate_job_status)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_job record;
    v_jobs bigint[];
    v_changed boolean;
begin
    perform _procrastinate_clear_derived();
    if
        coalesce(p_older_than, '-1') < interval '0'
        or coalesce(p_max_jobs, 0) < 1
    then
        perform _procrastinate_raise('PQ003',
            'Recovering needs an age and a number of jobs',
            format('Age %s, number %s.', coalesce(p_older_than::text, 'null'),
                coalesce(p_max_jobs::text, 'null')),
            'Give the age of the last heartbeat from which a worker counts as stalled.');
    end if;
    if
        cardinality(p_task_names) is distinct from cardinality(p_max_attempts)
        or array_position(p_task_names, null) is not null
    then
        perform _procrastinate_raise('PQ003',
            'Each task to recover needs a name and its most attempts',
            format('%s names, %s numbers.',
                coalesce(cardinality(p_task_names)::text, 'null'),
                coalesce(cardinality(p_max_attempts)::text, 'null')),
            'Null instead of a number is no limit.');
    end if;
    v_jobs := array(
        select j.id
        from procrastinate_jobs as j
        where
            j.id = any(array(
                select d.job_id
                from procrastinate_doing as d
                left join procrastinate_workers as w on w.id = d.worker_id
                where
                    coalesce(w.last_heartbeat < procrastinate_now() - p_older_than, true)
            ))
            and j.status = 'doing'
            and j.task_name = any(p_task_names)
        order by j.id
        limit p_max_jobs
        for no key update skip locked
    );
    perform _procrastinate_lock_jobs(v_jobs, '{}');
    for v_job in
        select
            d.job_id, d.claim_id, coalesce(d.worker_id, 0) as worker_id,
            j.attempts, p.most
        from procrastinate_doing as d
        join procrastinate_jobs as j on j.id = d.job_id
        cross join lateral (
            select u.most
            from unnest(p_task_names, p_max_attempts) as u (task_name, most)
            where u.task_name = j.task_name
            limit 1
        ) as p
        where d.job_id = any(v_jobs)
        order by d.job_id
    loop
        if v_job.most is null or v_job.attempts < v_job.most then
            v_changed := _procrastinate_put_back(
                v_job.worker_id, v_job.job_id, v_job.claim_id, 1, null, null, null, null
            );
        else
            select f.outcome = 'finished' into v_changed
            from procrastinate_finish_jobs_v1(
                v_job.worker_id, array[v_job.job_id], array[v_job.claim_id],
                '{failed}', '{f}'
            ) as f;
        end if;
        continue when not v_changed;
        job_id := v_job.job_id;
        select j.status into status from procrastinate_jobs as j where j.id = v_job.job_id;
        outcome := case when status = 'todo' then 'retried' else status::text end;
        update procrastinate_events as e
        set error = coalesce(e.error, 'Its worker was gone or silent')
        where e.id = (
            select max(x.id) from procrastinate_events as x where x.job_id = v_job.job_id
        );
        return next;
    end loop;
end;
$$;

comment on function procrastinate_recover_jobs_v1(interval, text[], integer[], integer) is
'doing -> todo or failed for stalled jobs of these tasks, an outcome each. Raises PQ003.';

-- A new worker, with what it says of itself. "wire" is what it calls: names of versioned
-- functions, without "procrastinate_"; no migration removes them while it lives.
create function procrastinate_register_worker_v2(
    p_name text default null,
    p_queues text[] default null,
    p_description jsonb default '{}'
)
returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
declare
    v_id bigint;
begin
    if jsonb_typeof(p_description) <> 'object' then
        perform _procrastinate_raise('PQ003',
            format('The description of a worker is a JSON object, not %s',
                jsonb_typeof(p_description)),
            null, 'Give named facts, such as {"version": "1.2"}.');
    end if;
    perform _procrastinate_check_text(p_name, 'name of a worker', 500, false);
    insert into procrastinate_workers (
        name, queues, description, last_heartbeat, started_at
    )
    values (
        p_name, p_queues, coalesce(p_description, '{}'), procrastinate_now(),
        procrastinate_now()
    )
    returning id into v_id;
    perform _procrastinate_check_wire(p_description -> 'wire');
    return v_id;
end;
$$;

comment on function procrastinate_register_worker_v2(text, text[], jsonb) is
'Registers a worker and returns its id. Raises PQ008 (what it calls is not there), PQ003.';

-- doing -> todo: a worker gives back what it holds and has not run. No attempt is counted.
create function procrastinate_release_jobs_v1(
    p_worker_id bigint, p_job_ids bigint[], p_claim_ids bigint[]
)
returns table (job_id bigint, outcome text, status procrastinate_job_status)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_job record;
    v_released boolean;
begin
    perform _procrastinate_clear_derived();
    perform _procrastinate_check_report(
        p_worker_id, 0, p_job_ids, p_claim_ids,
        array_fill(
            'failed'::procrastinate_job_status, array[coalesce(cardinality(p_job_ids), 0)]
        ),
        '{}'
    );
    v_released := _procrastinate_lock_jobs(p_job_ids, '{}');
    -- one by one: each may meet a waiting job with its queueing lock
    for v_job in
        select u.job_id, u.claim_id
        from unnest(p_job_ids, p_claim_ids) as u (job_id, claim_id)
        order by u.job_id
    loop
        job_id := v_job.job_id;
        v_released := _procrastinate_put_back(
            p_worker_id, v_job.job_id, v_job.claim_id, 0, null, null, null, null
        );
        select j.status into status from procrastinate_jobs as j where j.id = v_job.job_id;
        outcome := case
            when not v_released then 'not_held'
            when status = 'todo' then 'released'
            else status::text
        end;
        return next;
    end loop;
end;
$$;

comment on function procrastinate_release_jobs_v1(bigint, bigint[], bigint[]) is
'doing -> todo without counting an attempt, for these claims; an outcome for each job.';

-- Retention, a bounded step a call: of the next jobs by id, those that ended long ago go.
--
-- A pass over them begins at 0 and goes on from next_id until that is null. It ends at the
-- first job that was deferred too lately to have ended long ago, for so were all after it:
-- what it costs is the jobs that were deferred before, and neither those ended lately nor
-- ten million in all. One caller at a time; nothing waits for it, and it waits for nobody.
-- Jobs and their events are read side by side, as procrastinate_purge_jobs does.
create function procrastinate_retire_jobs_v1(
    p_older_than interval, p_after_id bigint default 0, p_max_jobs integer default 1000
)
returns table (retired bigint, next_id bigint)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off
set jit = off
as $$
declare
    v_before constant timestamptz := procrastinate_now() - p_older_than;
    v_seen bigint;
    v_to bigint;
begin
    perform _procrastinate_clear_derived();
    if
        p_older_than is null or p_older_than < interval '0' or p_after_id is null
        or coalesce(p_max_jobs, 0) < 1
    then
        perform _procrastinate_raise('PQ003',
            'Retention needs an age, where to begin and a number of jobs',
            format('p_older_than %s, p_after_id %s, p_max_jobs %s.',
                coalesce(p_older_than::text, 'null'), coalesce(p_after_id::text, 'null'),
                coalesce(p_max_jobs::text, 'null')),
            'For example procrastinate_retire_jobs_v1(interval ''30 days'').');
    end if;
    retired := 0;
    -- 0 and 1 are about the locks of jobs, 2 is the sweep's
    if not pg_try_advisory_xact_lock(_procrastinate_all_locks_key(3)) then
        return next;
        return;
    end if;

    select max(s.id), count(*) into v_to, v_seen
    from (
        select j.id
        from procrastinate_jobs as j
        where j.id > p_after_id
        order by j.id
        limit p_max_jobs
    ) as s;
    delete from procrastinate_jobs as j
    where
        j.id = any(array(
            select x.id
            from procrastinate_jobs as x
            join (
                select e.job_id
                from procrastinate_events as e
                where e.job_id > p_after_id and e.job_id <= v_to
                group by e.job_id
                having max(e.at) < v_before
            ) as o on o.job_id = x.id
            where
                x.id > p_after_id and x.id <= v_to
                and x.status not in ('todo', 'doing')
            order by x.id
            for update of x skip locked
        ));
    get diagnostics retired = row_count;

    if v_seen = p_max_jobs and not exists (
        select
        from procrastinate_events as e
        where
            e.job_id = v_to
            and e.type = 'deferred'
            and e.at >= v_before
    ) then
        next_id := v_to;
    end if;
    return next;
end;
$$;

comment on function procrastinate_retire_jobs_v1(interval, bigint, integer) is
'Deletes what ended long ago among the next jobs by id; where to go on. Raises PQ003.';

-- doing -> todo: runs that failed and are to be tried again, with a new schedule, priority,
-- queue or lock where given. A delay, where no time is given, counts from now by the clock
-- of the database. A job asked to abort, or whose queueing lock is taken by a waiting job,
-- ends as failed instead.
create function procrastinate_retry_jobs_v1(
    p_worker_id bigint,
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_retry_ats timestamptz[],
    p_priorities integer[],
    p_queue_names text[],
    p_locks text[],
    p_retry_ins interval[] default null
)
returns table (job_id bigint, outcome text, status procrastinate_job_status)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := procrastinate_now();
    v_job record;
    v_held boolean;
begin
    perform _procrastinate_clear_derived();
    perform _procrastinate_check_report(
        p_worker_id, 0, p_job_ids, p_claim_ids,
        array_fill(
            'failed'::procrastinate_job_status, array[coalesce(cardinality(p_job_ids), 0)]
        ),
        '{}'
    );
    perform _procrastinate_check_text(x.queue_name, 'queue name', 128, true)
    from unnest(p_queue_names) as x (queue_name)
    where x.queue_name is not null;
    v_held := _procrastinate_lock_jobs(p_job_ids, p_locks);
    for v_job in
        select
            u.job_id, u.claim_id, u.priority, u.queue_name, u.lock,
            coalesce(u.retry_at, v_now + u.retry_in, v_now) as retry_at
        from unnest(
            p_job_ids, p_claim_ids, p_retry_ats, p_priorities, p_queue_names, p_locks,
            p_retry_ins
        ) as u (job_id, claim_id, retry_at, priority, queue_name, lock, retry_in)
        where u.job_id is not null
        order by u.job_id
    loop
        job_id := v_job.job_id;
        v_held := _procrastinate_put_back(
            p_worker_id, v_job.job_id, v_job.claim_id, 1,
            v_job.retry_at, v_job.priority, v_job.queue_name, v_job.lock
        );
        select j.status into status from procrastinate_jobs as j where j.id = v_job.job_id;
        outcome := case
            when not v_held then 'not_held'
            when status = 'todo' then 'retried'
            else status::text
        end;
        return next;
    end loop;
end;
$$;

comment on function procrastinate_retry_jobs_v1(
    bigint, bigint[], bigint[], timestamptz[], integer[], text[], text[],
    interval[]
) is 'doing -> todo for these claims, attempts + 1; an outcome for each job. Raises PQ003.';

-- As v1, with the error of each attempt, which its history keeps.
create function procrastinate_retry_jobs_v2(
    p_worker_id bigint,
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_retry_ats timestamptz[],
    p_priorities integer[],
    p_queue_names text[],
    p_locks text[],
    p_errors jsonb[],
    p_retry_ins interval[] default null
)
returns table (job_id bigint, outcome text, status procrastinate_job_status)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
#variable_conflict use_column
declare
    v_row record;
begin
    perform _procrastinate_clear_derived();
    for v_row in
        select r.job_id, r.outcome, r.status
        from procrastinate_retry_jobs_v1(
            p_worker_id, p_job_ids, p_claim_ids, p_retry_ats, p_priorities, p_queue_names,
            p_locks, p_retry_ins
        ) as r
    loop
        if v_row.outcome <> 'not_held' then
            perform _procrastinate_note_errors(
                array[v_row.job_id],
                array[p_errors[array_position(p_job_ids, v_row.job_id)]]
            );
        end if;
        job_id := v_row.job_id;
        outcome := v_row.outcome;
        status := v_row.status;
        return next;
    end loop;
end;
$$;

comment on function procrastinate_retry_jobs_v2(
    bigint, bigint[], bigint[], timestamptz[], integer[], text[], text[], jsonb[],
    interval[]
) is 'doing -> todo for these claims, with the errors; an outcome for each. Raises PQ003.';

-- A worker says whether it looks for jobs by itself, so that nobody need notify it.
--
-- What it promises: while it is quiet it never rests with a free slot. Before it does, it
-- takes its word back, and when that is committed it asks procrastinate_list_writers_v1 who
-- may have gone by the old word, and fetches once more, and again when those have ended
-- (docs/decisions/0073-quiet-notify.md). A worker that never calls this is always notified.
create function procrastinate_set_quiet_v1(p_worker_id bigint, p_quiet boolean)
returns void
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
begin
    if p_quiet is null then
        perform _procrastinate_raise('PQ003',
            format('Worker %s says neither that it is quiet nor that it is not',
                coalesce(p_worker_id::text, 'null')),
            null, 'Say true or false.');
    end if;
    update procrastinate_workers as w
    set quiet = p_quiet
    where w.id = p_worker_id and w.quiet <> p_quiet;
    if not found then  -- it is so already, or there is no such worker
        perform _procrastinate_require_worker(p_worker_id);
    end if;
end;
$$;

comment on function procrastinate_set_quiet_v1(bigint, boolean) is
'Whether a worker looks for jobs by itself and need not be notified. Raises PQ003, PQ004.';

-- What each worker does now and then for all: heads that stand parked though nobody holds
-- their lock (a caller in REPEATABLE READ may leave one) are promoted, the numbers of
-- workers that are gone are taken off finished jobs, and results past their time are
-- deleted, a bounded number a call.
create function procrastinate_sweep_v1(p_max_jobs integer default 1000)
returns table (promoted bigint, unlinked bigint)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
    v_at procrastinate_sweep;
    v_locks text[];
    v_lost text[];
    v_to bigint;
    v_seen bigint;
begin
    perform _procrastinate_clear_derived();
    if coalesce(p_max_jobs, 0) < 1 then
        perform _procrastinate_raise('PQ003',
            format('The number of jobs to sweep is %s', coalesce(p_max_jobs::text, 'null')),
            null, 'Ask for one job or more.');
    end if;
    perform _procrastinate_refuse_old_snapshot('Sweeping');
    promoted := 0;
    unlinked := 0;
    insert into procrastinate_sweep (id) values (default) on conflict do nothing;
    select s.id, s.last_job_id, s.last_lock into v_at
    from procrastinate_sweep as s
    for no key update skip locked;
    if not found then  -- another worker sweeps
        return next;
        return;
    end if;

    v_locks := _procrastinate_next_locks(v_at.last_lock, p_max_jobs);
    v_lost := array(select h.lock from _procrastinate_lost_heads(v_locks) as h);
    if cardinality(v_lost) > 0 then
        perform _procrastinate_take_locks(v_lost);
        promoted := cardinality(v_lost);
        perform _procrastinate_promote(null, v_lost);
        promoted := promoted - (select count(*) from _procrastinate_lost_heads(v_lost));
    end if;

    perform _procrastinate_fold_counts(), _procrastinate_purge_results(p_max_jobs);

    select max(x.id), count(*) into v_to, v_seen
    from (
        select j.id
        from procrastinate_jobs as j
        where j.id > v_at.last_job_id
        order by j.id
        limit p_max_jobs
    ) as x;
    with mine as (
        update procrastinate_jobs as j
        set worker_id = null
        where
            j.id = any(array(
                select x.id
                from procrastinate_jobs as x
                where
                    x.id > v_at.last_job_id and x.id <= v_to
                    and x.worker_id is not null
                    and x.status not in ('todo', 'doing')
                    and not exists (
                        select from procrastinate_workers as w where w.id = x.worker_id
                    )
                order by x.id
                for no key update skip locked
            ))
        returning j.id
    )
    select count(*) into unlinked from mine as m;

    update procrastinate_sweep as s  -- at the end: from the start again
    set
        last_job_id = case when v_seen = p_max_jobs then v_to else 0 end,
        last_lock = v_locks[p_max_jobs];
    return next;
end;
$$;

comment on function procrastinate_sweep_v1(integer) is
'Promotes heads of locks that were left parked, unlinks finished jobs from gone workers.';

-- – -> todo for many jobs, each for itself: a job whose queueing lock is taken is told and
-- the others are deferred.
create function procrastinate_try_defer_jobs_v1(
    p_queue_names text[],
    p_task_names text[],
    p_priorities integer[],
    p_locks text[],
    p_queueing_locks text[],
    p_args jsonb[],
    p_scheduled_ats timestamptz[]
)
returns table (ordinal integer, job_id bigint, conflict text)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
#variable_conflict use_column
declare
    v_job record;
    v_ids bigint[];
    v_constraint text;
begin
    begin
        v_ids := array(
            select x.id
            from procrastinate_defer_jobs_v2(
                p_queue_names, p_task_names, p_priorities, p_locks, p_queueing_locks,
                p_args, p_scheduled_ats
            ) as x (id)
        );
        return query
        select i.nr::integer, i.id, null::text
        from unnest(v_ids) with ordinality as i (id, nr)
        order by i.nr;
        return;
    exception
        when unique_violation then
            get stacked diagnostics v_constraint = constraint_name;
            if v_constraint <> 'procrastinate_jobs_queueing_lock_idx_v1' then
                raise;
            end if;
    end;

    -- one by one, in the order of the queueing locks, so that two batches cannot wait for
    -- each other; the ids are drawn before, in the order given
    v_ids := array(
        select nextval('procrastinate_jobs_id_seq')
        from generate_series(1, cardinality(p_queue_names))
    );
    for v_job in
        select
            u.id, u.queue_name, u.task_name, u.priority, u.lock, u.queueing_lock, u.args,
            u.scheduled_at, u.nr
        from unnest(
            v_ids, p_queue_names, p_task_names, p_priorities, p_locks, p_queueing_locks,
            p_args, p_scheduled_ats
        ) with ordinality as u (
            id, queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at, nr
        )
        order by u.queueing_lock nulls first, u.nr
    loop
        begin
            insert into procrastinate_jobs (
                id, queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at
            )
            values (
                v_job.id, v_job.queue_name, v_job.task_name, coalesce(v_job.priority, 0),
                v_job.lock, v_job.queueing_lock, coalesce(v_job.args, '{}'),
                v_job.scheduled_at
            );
        exception
            when unique_violation then
                get stacked diagnostics v_constraint = constraint_name;
                if v_constraint <> 'procrastinate_jobs_queueing_lock_idx_v1' then
                    raise;
                end if;
                v_ids[v_job.nr] := null;
        end;
    end loop;
    return query
    select
        u.nr::integer, v_ids[u.nr], case when v_ids[u.nr] is null then u.queueing_lock end
    from unnest(p_queueing_locks) with ordinality as u (queueing_lock, nr)
    order by u.nr;
end;
$$;

comment on function procrastinate_try_defer_jobs_v1(
    text[], text[], integer[], text[], text[], jsonb[], timestamptz[]
) is
'Defers each job that can be: its id, or the queueing lock that was taken. Raises PQ003.';

-- – -> todo for many jobs with options, each for itself: a job whose key or queueing lock
-- is taken is told, with the job that has it, and the others are deferred.
--
-- Keys are taken first, all in one order, then queueing locks, in theirs, as a defer of all
-- or none does it: two batches do not wait for each other in a circle.
create function procrastinate_try_defer_jobs_v2(
    p_queue_names text[],
    p_task_names text[],
    p_priorities integer[],
    p_locks text[],
    p_queueing_locks text[],
    p_args jsonb[],
    p_scheduled_ats timestamptz[],
    p_options jsonb[]
)
returns table (
    ordinal integer, job_id bigint, conflict text, reason text, other_job_id bigint
)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
#variable_conflict use_column
declare
    v_ids bigint[];
    v_twice integer[];
    v_nrs integer[];  -- those to defer; then, those to defer one by one
    v_nr integer;
    v_constraint text;
begin
    perform
        _procrastinate_check_jobs(p_queue_names, p_task_names, p_args, array[
            cardinality(p_priorities), cardinality(p_locks), cardinality(p_queueing_locks),
            cardinality(p_scheduled_ats), cardinality(p_options)
        ]),
        _procrastinate_check_options(p_options, p_locks);
    v_ids := array(
        select nextval('procrastinate_jobs_id_seq')
        from generate_series(1, cardinality(p_queue_names))
    );
    insert into procrastinate_keys as k (key, job_id)
    select u.options ->> 'key', u.id
    from unnest(v_ids, p_options) with ordinality as u (id, options, nr)
    where u.options ->> 'key' is not null
    order by u.options ->> 'key', u.nr
    on conflict do nothing;
    v_twice := array(
        select u.nr
        from unnest(v_ids, p_options) with ordinality as u (id, options, nr)
        where
            u.options ->> 'key' is not null
            and not exists (select from procrastinate_keys as k where k.job_id = u.id)
    );

    v_nrs := array(
        select u.nr::integer
        from unnest(v_ids, p_queueing_locks) with ordinality as u (id, queueing_lock, nr)
        where u.nr <> all(v_twice) and u.id is not null
        order by u.queueing_lock nulls first, u.nr
    );
    begin
        perform _procrastinate_defer_with_options(
            array(select p_queue_names[n.nr] from unnest(v_nrs) as n (nr)),
            array(select p_task_names[n.nr] from unnest(v_nrs) as n (nr)),
            array(select p_priorities[n.nr] from unnest(v_nrs) as n (nr)),
            array(select p_locks[n.nr] from unnest(v_nrs) as n (nr)),
            array(select p_queueing_locks[n.nr] from unnest(v_nrs) as n (nr)),
            array(select p_args[n.nr] from unnest(v_nrs) as n (nr)),
            array(select p_scheduled_ats[n.nr] from unnest(v_nrs) as n (nr)),
            array(select p_options[n.nr] from unnest(v_nrs) as n (nr)),
            array(select v_ids[n.nr] from unnest(v_nrs) as n (nr))
        );
        v_nrs := '{}';
    exception
        when unique_violation then
            get stacked diagnostics v_constraint = constraint_name;
            if v_constraint <> 'procrastinate_jobs_queueing_lock_idx_v1' then
                raise;
            end if;
    end;

    foreach v_nr in array v_nrs loop
        begin
            perform _procrastinate_defer_with_options(
                p_queue_names[v_nr:v_nr], p_task_names[v_nr:v_nr],
                p_priorities[v_nr:v_nr], p_locks[v_nr:v_nr], p_queueing_locks[v_nr:v_nr],
                p_args[v_nr:v_nr], p_scheduled_ats[v_nr:v_nr], p_options[v_nr:v_nr],
                v_ids[v_nr:v_nr]
            );
        exception
            when unique_violation then
                get stacked diagnostics v_constraint = constraint_name;
                if v_constraint <> 'procrastinate_jobs_queueing_lock_idx_v1' then
                    raise;
                end if;
                delete from procrastinate_keys as k where k.job_id = v_ids[v_nr];
                v_ids[v_nr] := null;
        end;
    end loop;

    return query
    select
        u.nr::integer,
        case when not u.keyless then u.id end,
        case when u.keyless then u.options ->> 'key' when u.id is null then u.lock end,
        case when u.keyless then 'key' when u.id is null then 'queueing_lock' end,
        case
            when u.keyless then (
                select k.job_id from procrastinate_keys as k
                where k.key = u.options ->> 'key'
            )
            when u.id is null then (
                select t.job_id from procrastinate_todo as t where t.queueing_lock = u.lock
            )
        end
    from (
        select x.nr, x.id, x.options, x.lock, x.nr = any(v_twice) as keyless
        from unnest(v_ids, p_options, p_queueing_locks) with ordinality as x (
            id, options, lock, nr
        )
    ) as u
    order by u.nr;
end;
$$;

comment on function procrastinate_try_defer_jobs_v2(
    text[], text[], integer[], text[], text[], jsonb[], timestamptz[], jsonb[]
) is
'Defers each job that can be: its id, or what was taken, and by which job. Raises PQ003.';

-- A worker that ends takes its row with it; jobs that it leaves in doing are stalled at
-- once. "run" as in procrastinate_heartbeat_v1: a row that is another's stays.
create function procrastinate_unregister_worker_v2(
    p_worker_id bigint, p_run text default null
)
returns boolean
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
begin
    if p_run is not null then
        -- kept until we have removed it
        perform from procrastinate_workers as w
        where w.id = p_worker_id and w.description ->> 'run' = p_run
        for update;
        if not found then
            return false;
        end if;
    end if;
    perform _procrastinate_clear_derived();
    return exists (
        select from _procrastinate_remove_workers(array[p_worker_id], null)
    );
end;
$$;

comment on function procrastinate_unregister_worker_v2(bigint, text) is
'Removes a worker; false if it was not registered, or as another run.';

-- What running jobs tell of themselves: progress, meta, and that they live. For the claims
-- that hold their job; null keeps what was told before.
create function procrastinate_update_jobs_v1(
    p_worker_id bigint,
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_progress double precision[],
    p_meta jsonb[]
)
returns table (job_id bigint, outcome text)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := procrastinate_now();
    v_held bigint[];
    v_told bigint[];
    v_wrong text;
begin
    perform _procrastinate_clear_derived();
    perform _procrastinate_check_report(
        p_worker_id, 0, p_job_ids, p_claim_ids,
        array_fill(
            'failed'::procrastinate_job_status, array[coalesce(cardinality(p_job_ids), 0)]
        ),
        '{}'
    );
    v_wrong := coalesce(
        (
            select format('The progress of a job is %s', p.progress)
            from unnest(p_progress) as p (progress)
            where p.progress not between 0 and 1
            limit 1
        ),
        (
            select format('The meta of a job is a JSON %s', jsonb_typeof(m.meta))
            from unnest(p_meta) as m (meta)
            where jsonb_typeof(m.meta) <> 'object'
            limit 1
        )
    );
    if v_wrong is not null then
        perform _procrastinate_raise('PQ003', v_wrong, null,
            'Progress is a number from 0 to 1, meta an object.');
    end if;

    v_held := array(
        select d.job_id
        from procrastinate_doing as d
        where
            d.job_id = any(p_job_ids)
            and d.claim_id = any(p_claim_ids)
            and coalesce(d.worker_id, p_worker_id) = p_worker_id
        order by d.job_id
        for no key update
    );
    update procrastinate_doing as d
    set heartbeat_at = v_now + j.heartbeat
    from procrastinate_jobs as j
    where d.job_id = any(v_held) and j.id = d.job_id and j.heartbeat is not null;
    with told as (
        insert into procrastinate_results as r (job_id, progress, meta, updated_at)
        select distinct on (u.job_id) u.job_id, u.progress, u.meta, v_now
        from unnest(p_job_ids, p_progress, p_meta) with ordinality as u (
            job_id, progress, meta, nr
        )
        where u.job_id = any(v_held) and num_nonnulls(u.progress, u.meta) > 0
        order by u.job_id, u.nr desc  -- of one job's the last
        on conflict (job_id) do update
        set
            progress = coalesce(excluded.progress, r.progress),
            meta = coalesce(excluded.meta, r.meta),
            updated_at = excluded.updated_at
        returning r.job_id
    )
    select array_agg(t.job_id) into v_told from told as t;
    perform _procrastinate_tell_jobs('procrastinate_progress_v1', 'job_progress', v_told);
    return query
    select u.job_id, case when u.job_id = any(v_held) then 'updated' else 'not_held' end
    from unnest(p_job_ids) with ordinality as u (job_id, nr)
    order by u.nr;
end;
$$;

comment on function procrastinate_update_jobs_v1(
    bigint, bigint[], bigint[], double precision[], jsonb[]
) is 'Progress, meta and heartbeat of running jobs; an outcome for each. Raises PQ003.';

-- todo -> cancelled, or a job in doing asked to abort.
create function procrastinate_abort_job(job_id bigint)
returns boolean
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
begin
    perform _procrastinate_clear_derived();
    return _procrastinate_cancel($1, true, false) is not null;
end;
$$;

comment on function procrastinate_abort_job(bigint) is
'todo -> cancelled; doing: asks the job to abort. False: the job is neither.';

-- todo -> cancelled (or gone); with abort, a job in doing is asked to abort.
create function procrastinate_cancel_job(
    job_id bigint, abort boolean default false, delete_job boolean default false
)
returns boolean
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
begin
    perform _procrastinate_clear_derived();
    return _procrastinate_cancel($1, coalesce($2, false), coalesce($3, false)) is not null;
end;
$$;

comment on function procrastinate_cancel_job(bigint, boolean, boolean) is
'todo -> cancelled or gone; doing: asks to abort, if abort is true. False: does not apply.';

-- todo -> cancelled (or gone) for the jobs that pass all filters, a bounded number a call;
-- with abort, those in doing are asked to abort, too. An outcome for each.
create function procrastinate_cancel_jobs(
    queue_name text default null,
    task_name text default null,
    status procrastinate_job_status default null,
    lock text default null,
    queueing_lock text default null,
    older_than interval default null,
    newer_than interval default null,
    job_ids bigint[] default null,
    all_jobs boolean default false,
    abort boolean default false,
    delete_jobs boolean default false,
    dry_run boolean default false,
    after_id bigint default 0,
    max_jobs integer default 500
)
returns table (job_id bigint, outcome text)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
#variable_conflict use_column
declare
    v_abort constant boolean := coalesce($10, false);
    v_statuses procrastinate_job_status[];
    v_jobs bigint[];
begin
    perform _procrastinate_clear_derived();
    v_statuses := case
        when $3 is not null then array[$3]
        when v_abort then '{todo,doing}'
        else '{todo}'
    end;
    if not v_statuses <@ '{todo,doing}' or ($3 = 'doing' and not v_abort) then
        perform _procrastinate_raise('PQ003',
            'Only waiting jobs can be cancelled, and running ones asked to abort',
            format('The status asked for is %s.', $3),
            'Leave the status out; say abort => true for those in doing.');
    end if;
    v_jobs := _procrastinate_find_jobs(
        v_statuses, $1, $2, $4, $5, $6, $7, $8, $9, $13, $14
    );
    if $12 then
        return query select x.id, 'matched' from unnest(v_jobs) as x (id);
    else
        return query
        select x.job_id, x.outcome
        from _procrastinate_cancel_many(v_jobs, v_abort, coalesce($11, false)) as x
        order by x.job_id;
    end if;
end;
$$;

comment on function procrastinate_cancel_jobs(
    text, text, procrastinate_job_status, text, text, interval, interval, bigint[], boolean,
    boolean, boolean, boolean, bigint, integer
) is
'todo -> cancelled for at most max_jobs that pass the filters; an outcome each. '
'Raises PQ003.';

-- Is everything derived true? A row for every breach; none is what it should say.
create function procrastinate_check()
returns table (breach text, job_id bigint, detail text)
language plpgsql stable parallel safe security definer
set search_path from current
as $$
#variable_conflict use_column
begin
    return query
    select
        case
            when t.job_id is null then 'todo: row missing'
            when j.id is null then 'todo: row of no waiting job'
            else 'todo: row differs from its job'
        end,
        coalesce(j.id, t.job_id),
        format('job: %s; row: %s', to_jsonb(j), to_jsonb(t))
    from (
        select x.id, x.queue_name, x.priority, x.lock, x.queueing_lock, x.scheduled_at
        from procrastinate_jobs as x
        where x.status = 'todo'
    ) as j
    full join procrastinate_todo as t on t.job_id = j.id
    where
        j.id is null or t.job_id is null
        or (j.queue_name, j.priority, j.lock, j.queueing_lock, j.scheduled_at)
            is distinct from (
                t.queue_name, t.priority, coalesce(t.lock, t.due_lock), t.queueing_lock,
                t.scheduled_at
            )
        or (t.due_lock is not null and t.state <> 'd')
        or t.state not in ('r', 'a', 'd', 'b')
        or (t.state = 'b' and t.lock is null)
        or (t.state = 'd' and t.scheduled_at is null);

    return query
    select
        case
            when d.job_id is null then 'doing: row missing'
            when j.id is null then 'doing: row of no running job'
            else 'doing: row differs from its job'
        end,
        coalesce(j.id, d.job_id),
        format('job: %s; row: %s', to_jsonb(j), to_jsonb(d))
    from (
        select x.id, x.lock, x.worker_id
        from procrastinate_jobs as x
        where x.status = 'doing'
    ) as j
    full join procrastinate_doing as d on d.job_id = j.id
    where
        j.id is null or d.job_id is null
        or (j.lock, j.worker_id) is distinct from (d.lock, d.worker_id);

    return query
    select
        case when j.id is null then 'keys: row of no active job with this key'
            else 'keys: row missing, or of another job' end,
        coalesce(j.id, k.job_id), format('key %s', coalesce(j.key, k.key))
    from (
        select x.id, x.key
        from procrastinate_jobs as x
        where x.key is not null and x.status in ('todo', 'doing')
    ) as j
    full join procrastinate_keys as k on k.job_id = j.id and k.key = j.key
    where j.id is null or k.job_id is null;

    return query
    select 'lock: held by more than one job', min(d.job_id), format('lock %s', d.lock)
    from procrastinate_doing as d
    where d.lock is not null
    group by d.lock
    having count(*) > 1;

    return query
    select 'lock: its next job is blocked by nobody', h.job_id, format('lock %s', h.lock)
    from _procrastinate_lost_heads(
        array(
            select distinct t.lock from procrastinate_todo as t where t.state = 'b'
        )
    ) as h;

    return query
    select
        'queue: priority not known to fetches', min(t.job_id),
        format('queue %s, priority %s', t.queue_name, t.priority)
    from procrastinate_todo as t
    where
        not exists (
            select
            from procrastinate_priorities as p
            where
                p.queue_name = t.queue_name
                and coalesce(p.priority, t.priority) = t.priority
        )
    group by t.queue_name, t.priority;

    return query
    select
        'counts: number of finished jobs differs', null::bigint,
        format('queue %s, %s: counted %s, there are %s',
            coalesce(c.queue_name, j.queue_name), coalesce(c.status, j.status),
            coalesce(c.jobs, 0), coalesce(j.jobs, 0))
    from (
        select x.queue_name, x.status, sum(x.jobs) as jobs
        from procrastinate_counts as x
        group by x.queue_name, x.status
    ) as c
    full join (
        select x.queue_name, x.status, count(*) as jobs
        from procrastinate_jobs as x
        where x.status > 'doing'
        group by x.queue_name, x.status
    ) as j on j.queue_name = c.queue_name and j.status = c.status
    where coalesce(c.jobs, 0) <> coalesce(j.jobs, 0);

    return query
    select 'results: row of no job', r.job_id, null::text
    from procrastinate_results as r
    where
        r.status is null  -- else it outlives its job on purpose
        and not exists (select from procrastinate_jobs as j where j.id = r.job_id);

    return query
    select 'events: history of no job', e.job_id, format('%s events', count(*))
    from procrastinate_events as e
    where not exists (select from procrastinate_jobs as j where j.id = e.job_id)
    group by e.job_id;
end;
$$;

comment on function procrastinate_check() is
'Reads everything and returns a row for each thing derived that is not true; '
'writes nothing.';

-- Makes the roles that are not there, without a login, and gives each of them the rights of
-- its part and no other: safe to be called again, and to be after each migration.
create function procrastinate_create_roles(
    producer text default 'procrastinate_producer',
    worker text default 'procrastinate_worker',
    operator text default 'procrastinate_operator',
    auditor text default 'procrastinate_auditor'
)
returns table (role text, part text, created boolean)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
#variable_conflict use_column
declare
    v_schema constant text := quote_ident(current_schema());
    v_parts constant text[] := array['producer', 'worker', 'operator', 'auditor'];
    v_names constant text[] := array[$1, $2, $3, $4];
    v_created boolean[];
    v_one record;
begin
    perform _procrastinate_check_roles(v_names);
    for v_nr in 1..4 loop
        continue when v_names[v_nr] is null;
        v_created[v_nr] := not exists (
            select from pg_roles as r where r.rolname = v_names[v_nr]
        );
        if v_created[v_nr] then
            execute format('create role %I nologin', v_names[v_nr]);
        end if;
    end loop;

    -- first all that they have: a name may stand for two parts
    for v_one in
        select distinct s.statement
        from unnest(v_names) as n (name)
        cross join lateral (
            select format('revoke all on function %s from %I', p.oid::regprocedure, n.name)
            from pg_proc as p
            where
                p.pronamespace = v_schema::regnamespace
                and p.proname ~ '^_?procrastinate_' and p.prokind = 'f'
            union all
            select format('revoke all on %s %s from %I',
                case c.relkind when 'S' then 'sequence' else 'table' end,
                c.oid::regclass, n.name)
            from pg_class as c
            where
                c.relnamespace = v_schema::regnamespace
                and c.relname ^@ 'procrastinate_' and c.relkind in ('r', 'p', 'v', 'm', 'S')
        ) as s (statement)
        where n.name is not null
    loop
        execute v_one.statement;
    end loop;

    for v_one in
        select s.statement
        from unnest(v_names, v_parts) as n (name, part)
        cross join lateral (
            select format('grant usage on schema %s to %I', v_schema, n.name)
            union all
            select
                format('grant execute on function %s to %I', p.oid::regprocedure, n.name)
            from _procrastinate_rights() as r
            join pg_proc as p
                on p.proname = r.function_name and p.pronamespace = v_schema::regnamespace
            where r.role = n.part
            union all
            select format('grant select (%s) on %I to %I',
                (
                    select string_agg(quote_ident(c.name), ', ')
                    from unnest(t.columns) as c (name)
                ),
                t.relation, n.name)
            from _procrastinate_rights_on_tables() as t
            where t.role = n.part
        ) as s (statement)
        where n.name is not null
    loop
        execute v_one.statement;
    end loop;

    return query
    select u.name, u.part, u.created
    from unnest(v_names, v_parts, v_created) as u (name, part, created)
    where u.name is not null;
end;
$$;

comment on function procrastinate_create_roles(text, text, text, text) is
'Creates the roles for producers, workers, operators and auditors; sets their rights.';

-- – -> todo: one job. The positional order is that of 2.x, then what the job's run and its
-- end are to keep to.
create function procrastinate_defer_job(
    queue_name text,
    task_name text,
    priority integer default 0,
    lock text default null,
    queueing_lock text default null,
    args jsonb default '{}',
    scheduled_at timestamptz default null,
    timeout interval default null,
    heartbeat interval default null,
    ttl interval default null,
    max_attempts integer default null,
    retry_delay interval default null,
    retry_backoff double precision default null,
    retry_delay_cap interval default null,
    retry_jitter boolean default null,
    key text default null,
    group_key text default null,
    keep_result boolean default null
)
returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
#variable_conflict use_column
declare
    v_id bigint;
begin
    if coalesce(length($1), 0) not between 1 and 128
        or coalesce(length($2), 0) not between 1 and 128
        or jsonb_typeof($6) <> 'object' or pg_column_size($6 || '{}') > 4096
        or octet_length(concat($4, $5)) > 2000
    then
        perform _procrastinate_check_jobs(array[$1], array[$2], array[$6]);
    end if;
    if num_nonnulls($8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) > 0 then
        return (
            select d.id
            from procrastinate_defer_jobs_v3(
                array[$1], array[$2], array[$3], array[$4], array[$5], array[$6], array[$7],
                array[jsonb_build_object(
                    'timeout', extract(epoch from $8),
                    'heartbeat', extract(epoch from $9),
                    'ttl', extract(epoch from $10),
                    'max_attempts', $11,
                    'retry_delay', extract(epoch from $12),
                    'retry_backoff', $13,
                    'retry_delay_cap', extract(epoch from $14),
                    'retry_jitter', $15, 'key', $16, 'group_key', $17, 'keep_result', $18
                )]
            ) as d (id)
        );
    end if;
    insert into procrastinate_jobs (
        queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at
    )
    values ($1, $2, coalesce($3, 0), $4, $5, coalesce($6, '{}'), $7)
    returning id into v_id;
    return v_id;
end;
$$;

comment on function procrastinate_defer_job(
    text, text, integer, text, text, jsonb, timestamptz, interval, interval, interval,
    integer, interval, double precision, interval, boolean, text, text, boolean
) is
'Defers one job; returns its id. Raises PQ003, unique_violation (queueing lock or key).';

-- – -> todo: many jobs, all or none.
create function procrastinate_defer_jobs(jobs procrastinate_job_to_defer_v1[])
returns setof bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    if array_position(jobs, null) is not null then
        perform _procrastinate_raise('PQ003', 'A job to defer is null', null,
            'Give rows of type procrastinate_job_to_defer_v1.');
    end if;
    perform _procrastinate_check_jobs(
        array(select j.queue_name from unnest(jobs) as j),
        array(select j.task_name from unnest(jobs) as j),
        array(select j.args from unnest(jobs) as j)
    );
    return query
    insert into procrastinate_jobs as i (
        queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at
    )
    select
        j.queue_name, j.task_name, coalesce(j.priority, 0), j.lock, j.queueing_lock,
        coalesce(j.args, '{}'), j.scheduled_at
    from unnest(jobs) as j
    returning i.id;
end;
$$;

comment on function procrastinate_defer_jobs(procrastinate_job_to_defer_v1[]) is
'Defers jobs, all or none; ids in the order given. Raises PQ003, unique_violation.';

-- Why does this job not run? One row for each gate that it waits for or has passed.
create function procrastinate_explain_job(job_id bigint)
returns table (gate text, open boolean, detail text)
language plpgsql stable parallel safe security definer
set search_path from current
as $$
#variable_conflict use_column
declare
    v_job procrastinate_jobs;
    v_now constant timestamptz := procrastinate_now();
    v_row record;
begin
    perform _procrastinate_require_job($1);
    v_job := (select j from procrastinate_jobs as j where j.id = $1);

    return query values (
        'status', v_job.status = 'todo', _procrastinate_describe_job($1)
    );
    if v_job.status = 'doing' then
        return query
        select
            'worker', coalesce(w.last_heartbeat > v_now - interval '30 seconds', false),
            case
                when w.id is null then
                    'Its worker is gone: procrastinate_recover_stalled_jobs '
                    'gives the job to another.'
                else format(
                    'Worker %s%s has run it since %s; its last heartbeat was at %s.',
                    w.id, coalesce(' (' || w.name || ')', ''), d.started_at,
                    w.last_heartbeat
                )
            end
            || case when v_job.abort_requested then ' It was asked to abort.' else '' end
        from procrastinate_doing as d
        left join procrastinate_workers as w on w.id = d.worker_id
        where d.job_id = $1;
        return;
    elsif v_job.status <> 'todo' then
        return query
        select
            'history', false,
            format('%s at %s%s', e.type, e.at, coalesce(': ' || e.error, ''))
        from procrastinate_events as e
        where e.job_id = $1
        order by e.id;
        return;
    end if;

    return query values (
        'schedule',
        coalesce(v_job.scheduled_at <= v_now, true),
        case
            when v_job.scheduled_at is null then 'It may run at once.'
            else format('It may run from %s on.', v_job.scheduled_at)
        end
    );
    if v_job.lock is null then
        return query values ('lock', true, 'It has no lock.');
    elsif v_job.group_key is not null and v_job.scheduled_at > v_now then
        return query values (
            'lock', true, format('It joins the line of its group %s when it is due.',
                v_job.group_key)
        );
    else
        select x.open, x.detail into v_row
        from (
            select
                false as open, 0 as nr,
                format('Job %s holds the lock %s since %s.', d.job_id, d.lock, d.started_at)
                as detail
            from procrastinate_doing as d
            where d.lock = v_job.lock
            union all
            select h.open, h.nr, h.detail
            from (
                select
                    t.job_id = $1, 1,
                    case
                        when t.job_id = $1
                            then format('It is the next of the lock %s.', t.lock)
                        else format(
                            'Job %s of queue %s comes first for the lock %s%s.', t.job_id,
                            t.queue_name, t.lock, coalesce(', from ' || t.scheduled_at, '')
                        )
                    end
                from procrastinate_todo as t
                where t.lock = v_job.lock
                order by t.priority desc, t.job_id
                limit 1
            ) as h (open, nr, detail)
        ) as x (open, nr, detail)
        order by x.nr
        limit 1;
        return query values ('lock', v_row.open, v_row.detail);
    end if;

    select q.paused_at, q.pause_reason, q.paused_until into v_row
    from procrastinate_queues as q
    where
        q.queue_name = v_job.queue_name
        and q.paused_at is not null
        and coalesce(q.paused_until, 'infinity') > v_now;
    return query values (
        'queue', not found,
        case
            when v_row.paused_at is null
                then format('Queue %s is not paused.', v_job.queue_name)
            else format('Queue %s is paused since %s%s%s.',
                v_job.queue_name, v_row.paused_at,
                coalesce(' until ' || v_row.paused_until, ''),
                coalesce(': ' || v_row.pause_reason, ''))
        end
    );

    return query
    select
        'ahead', s.ahead = 0,
        format('%s jobs that may run come before it in queue %s.',
            s.ahead, v_job.queue_name)
    from (
        select count(*) as ahead
        from (
            select
            from procrastinate_todo as t
            where
                t.queue_name = v_job.queue_name
                and (t.state in ('r', 'a') or (t.state = 'd' and t.scheduled_at <= v_now))
                and (~t.priority, t.job_id) < (~v_job.priority, $1)
            limit 10000
        ) as x
    ) as s;

    return query
    select
        'workers', count(*) > 0,
        format('%s live workers serve queue %s.', count(*), v_job.queue_name)
    from procrastinate_workers as w
    where
        w.last_heartbeat > v_now - interval '30 seconds'
        and (w.queues is null or v_job.queue_name = any(w.queues));
end;
$$;

comment on function procrastinate_explain_job(bigint) is
'What a job waits for: gates status, schedule, lock, queue, ahead, workers. Raises PQ002.';

-- What a job has left: its result, or the error of its last attempt, and what it said of
-- itself while it ran.
create function procrastinate_get_result(job_id bigint)
returns table (
    status procrastinate_job_status,
    attempts integer,
    result jsonb,
    error jsonb,
    progress double precision,
    meta jsonb,
    updated_at timestamptz,
    expires_at timestamptz
)
language plpgsql stable parallel safe security definer
set search_path from current
as $$
#variable_conflict use_column
begin
    return query
    select
        g.status, g.attempts, g.result, g.error, g.progress, g.meta, g.updated_at,
        g.expires_at
    from procrastinate_get_results_v1(array[$1]) as g;
    if not found then
        perform _procrastinate_require_job($1);
    end if;
end;
$$;

comment on function procrastinate_get_result(bigint) is
'Status, result, error, progress and meta of a job. Raises PQ002 (no such job).';

-- Used inside queries, so without settings of its own: its body is bound when it is
-- created.
create function procrastinate_now()
returns timestamptz
language sql stable parallel safe
return case
    when coalesce(current_setting('procrastinate.now', true), '') = '' then now()
    else _procrastinate_travelled_now()
end;

comment on function procrastinate_now() is
'The time of the queue: now(), or the setting procrastinate.now in tests by the owner.';

-- A paused queue's jobs stay where they are and no fetch looks at them: one row is written,
-- however many wait.
create function procrastinate_pause_queue(
    queue_name text, reason text default null, until timestamptz default null
)
returns void
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    perform _procrastinate_require_queue($1);
    insert into procrastinate_queues as q (
        queue_name, paused_at, pause_reason, paused_until
    )
    values ($1, procrastinate_now(), $2, $3)
    on conflict on constraint procrastinate_queues_pkey do update
    set
        paused_at = excluded.paused_at,
        pause_reason = excluded.pause_reason,
        paused_until = excluded.paused_until;
end;
$$;

comment on function procrastinate_pause_queue(text, text, timestamptz) is
'From the next fetch on nobody gets jobs of this queue, for ever or until then. '
'Raises PQ003.';

-- Workers whose heartbeat stopped are removed; their jobs stay in doing, with no worker.
create function procrastinate_prune_stalled_workers(
    older_than interval default '30 seconds'
)
returns setof bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    perform _procrastinate_clear_derived();
    return query select w.id from procrastinate_prune_workers_v1($1) as w (id);
end;
$$;

comment on function procrastinate_prune_stalled_workers(interval) is
'Removes workers whose heartbeat is older than this and returns their ids. Raises PQ003.';

-- Deletes finished jobs whose last event is old, oldest ids first, a bounded number a call:
-- a scheduled event in the future keeps a job, as in 3.x.
--
-- Ages are in no index, but ids grow with time: the walk by id ends where jobs begin that
-- were deferred too lately to have ended long ago. Two of them, a hundred jobs apart, must
-- say so, for the id of one may be out of turn:
-- docs/decisions/0066-where-a-purge-ends.md.
--
-- Jobs and their events are read side by side, once: a step's history lies together, and to
-- look it up job by job took as long as all the rest.
create function procrastinate_purge_jobs(
    older_than interval,
    queue_name text default null,
    statuses procrastinate_job_status[] default '{succeeded}',
    max_jobs integer default 10000
)
returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off
set jit = off
as $$
declare
    v_before constant timestamptz := procrastinate_now() - $1;
    v_size integer := 1000;
    v_at bigint := -9223372036854775808;
    v_to bigint;
    v_seen integer;
    v_count bigint;
    v_deleted bigint := 0;
begin
    perform _procrastinate_clear_derived();
    if
        $1 is null or $1 < interval '0' or coalesce($4, 0) < 1
        or coalesce(cardinality($3), 0) = 0 or array_position($3, null) is not null
    then
        perform _procrastinate_raise('PQ003',
            'A purge needs an age, a status and a number of jobs',
            format('older_than %s, statuses %s, max_jobs %s.', coalesce($1::text, 'null'),
                coalesce($3::text, 'null'), coalesce($4::text, 'null')),
            'For example procrastinate_purge_jobs(interval ''30 days'').');
    end if;
    if $3 && array['todo', 'doing']::procrastinate_job_status[] then
        perform _procrastinate_raise('PQ003',
            'Only finished jobs can be purged', format('Got %s.', $3::text),
            'Leave out todo and doing; cancel waiting jobs first.');
    end if;

    loop
        select max(s.id), count(*) into v_to, v_seen
        from (
            select j.id
            from procrastinate_jobs as j
            where j.id > v_at
            order by j.id
            limit v_size
        ) as s;
        delete from procrastinate_jobs as j
        where
            j.id = any(array(
                select x.id
                from procrastinate_jobs as x
                where
                    x.id > v_at and x.id <= v_to
                    and x.status = any($3)
                    and ($2 is null or x.queue_name = $2)
                    and not exists (
                        select
                        from (
                            select e.job_id
                            from procrastinate_events as e
                            where
                                e.job_id > v_at and e.job_id <= v_to
                                and e.at >= v_before
                        ) as y
                        where y.job_id = x.id
                    )
                order by x.id
                limit $4 - v_deleted
                for update of x skip locked
            ));
        get diagnostics v_count = row_count;
        v_deleted := v_deleted + v_count;
        exit when
            v_seen < v_size or v_deleted >= $4
            or _procrastinate_are_young(v_to, v_before);
        v_at := v_to;
        v_size := least(v_size * 2, 10000);
    end loop;
    return v_deleted;
end;
$$;

comment on function procrastinate_purge_jobs(
    interval, text, procrastinate_job_status[], integer
) is
'Deletes at most max_jobs finished jobs whose last event is older; how many. Raises PQ003.';

-- doing -> todo for jobs whose worker is gone or silent, attempts + 1. The claim goes with
-- it, so that a late finish of that worker changes nothing. A job that was asked to abort,
-- or whose queueing lock is taken, ends as failed.
create function procrastinate_recover_stalled_jobs(
    older_than interval default '30 seconds', max_jobs integer default 1000
)
returns setof bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
    v_job record;
    v_jobs bigint[];
begin
    perform _procrastinate_clear_derived();
    if $1 is null or $1 < interval '0' or coalesce($2, 0) < 1 then
        perform _procrastinate_raise('PQ003',
            'Recovering needs an age and a number of jobs',
            format('older_than %s, max_jobs %s.', coalesce($1::text, 'null'),
                coalesce($2::text, 'null')),
            'For example procrastinate_recover_stalled_jobs(interval ''30 seconds'').');
    end if;
    v_jobs := array(
        select j.id
        from procrastinate_jobs as j
        where
            j.id = any(array(
                select d.job_id
                from procrastinate_doing as d
                left join procrastinate_workers as w on w.id = d.worker_id
                where coalesce(w.last_heartbeat < procrastinate_now() - $1, true)
            ))
            and j.status = 'doing'
        order by j.id
        limit $2
        for no key update skip locked
    );
    perform _procrastinate_lock_jobs(v_jobs, '{}');
    for v_job in
        select d.job_id, d.claim_id, d.worker_id
        from procrastinate_doing as d
        where d.job_id = any(v_jobs)
        order by d.job_id
    loop
        if _procrastinate_put_back(
            coalesce(v_job.worker_id, 0), v_job.job_id, v_job.claim_id, 1,
            null, null, null, null
        ) then
            return next v_job.job_id;
        end if;
    end loop;
end;
$$;

comment on function procrastinate_recover_stalled_jobs(interval, integer) is
'doing -> todo for jobs of workers that are gone or silent, attempts + 1; their ids.';

-- Derives todo and doing anew from procrastinate_jobs: after a restore or a replica that
-- fired no trigger. Everybody who writes jobs waits meanwhile. Claims are numbered anew, so
-- that whoever ran a job before cannot end it: those jobs are stalled, and recovered as
-- such.
create function procrastinate_repair()
returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
declare
    v_breaches bigint;
    v_cancelled bigint[];
    v_now constant timestamptz := procrastinate_now();
begin
    perform _procrastinate_clear_derived();
    lock table procrastinate_jobs in share row exclusive mode;
    select count(*) into v_breaches from procrastinate_check();
    if v_breaches = 0 then
        return 0;
    end if;
    perform _procrastinate_repair_keys();

    -- of jobs that wait with one queueing lock only the first may
    with twice as (
        select x.id, x.queueing_lock, x.nr
        from (
            select
                j.id, j.queueing_lock,
                row_number() over (partition by j.queueing_lock order by j.id) as nr
            from procrastinate_jobs as j
            where j.status = 'todo' and j.queueing_lock is not null
        ) as x
        where x.nr > 1
    ),
    cancelled as (
        update procrastinate_jobs as j
        set status = 'cancelled'
        from twice as t
        where j.id = t.id
        returning j.id
    )
    select array_agg(c.id) into v_cancelled from cancelled as c;
    update procrastinate_events as e
    set error = 'Cancelled by procrastinate_repair: '
        'another job waits with its queueing lock'
    where
        e.job_id = any(v_cancelled)
        and e.id = (
            select max(x.id) from procrastinate_events as x where x.job_id = e.job_id
        );

    -- of jobs that run under one lock all but the first claimed, or first deferred, wait
    -- again
    update procrastinate_jobs as j
    set status = 'todo', abort_requested = false
    from (
        select
            x.id,
            row_number() over (
                partition by x.lock order by d.claim_id nulls last, x.id
            ) as nr
        from procrastinate_jobs as x
        left join procrastinate_doing as d on d.job_id = x.id
        where x.status = 'doing' and x.lock is not null
    ) as h
    where j.id = h.id and h.nr > 1;

    delete from procrastinate_doing as d
    where
        not exists (
            select
            from procrastinate_jobs as j
            where
                j.id = d.job_id
                and j.status = 'doing'
                and (j.lock, j.worker_id) is not distinct from (d.lock, d.worker_id)
        );
    insert into procrastinate_doing (
        job_id, worker_id, started_at, deadline_at, heartbeat_at, priority, lock
    )
    select
        j.id, j.worker_id, v_now, v_now + j.timeout, v_now + j.heartbeat, j.priority, j.lock
    from procrastinate_jobs as j
    where
        j.status = 'doing'
        and not exists (select from procrastinate_doing as d where d.job_id = j.id);

    delete from procrastinate_todo;
    insert into procrastinate_todo (
        job_id, since, scheduled_at, priority, state, queue_name, lock, queueing_lock,
        due_lock
    )
    select
        j.id, pg_current_xact_id(), j.scheduled_at, j.priority,
        case
            when j.line is not null and (
                j.nr > 1
                or exists (select from procrastinate_doing as d where d.lock = j.line)
            ) then 'b'
            when j.scheduled_at > v_now then 'd'
            else 'a'
        end::"char",
        j.queue_name, j.line, j.queueing_lock, case when j.line is null then j.lock end
    from (
        select
            x.id, x.scheduled_at, x.priority, x.queue_name, x.lock, x.queueing_lock,
            l.line,
            row_number() over (partition by l.line order by ~x.priority, x.id) as nr
        from procrastinate_jobs as x
        cross join lateral _procrastinate_line_lock(
            x.lock, x.group_key, x.scheduled_at, v_now
        ) as l (line)
        where x.status = 'todo'
    ) as j
    order by j.queueing_lock, j.id;

    perform
        _procrastinate_note_priority(p.queue_name, p.priority),
        _procrastinate_notify(p.queue_name, 'job_inserted', p.job_id)
    from (
        select t.queue_name, t.priority, min(t.job_id) as job_id
        from procrastinate_todo as t
        group by t.queue_name, t.priority
    ) as p;
    delete from procrastinate_counts;
    insert into procrastinate_counts (queue_name, status, jobs)
    select j.queue_name, j.status, count(*)
    from procrastinate_jobs as j
    where j.status > 'doing'
    group by j.queue_name, j.status;
    delete from procrastinate_results as r
    where
        r.status is null
        and not exists (select from procrastinate_jobs as j where j.id = r.job_id);
    delete from procrastinate_events as e
    where not exists (select from procrastinate_jobs as j where j.id = e.job_id);
    return v_breaches;
end;
$$;

comment on function procrastinate_repair() is
'Derives todo and doing anew from the jobs; how many breaches procrastinate_check() had '
'found.';

-- A waiting job gets another time: "run now" is a time that has come.
create function procrastinate_reschedule_job(job_id bigint, scheduled_at timestamptz)
returns boolean
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
begin
    perform _procrastinate_clear_derived();
    update procrastinate_jobs as j
    set scheduled_at = $2
    where j.id = $1 and j.status = 'todo';
    if found then
        return true;
    end if;
    perform _procrastinate_require_job($1);
    return false;
end;
$$;

comment on function procrastinate_reschedule_job(bigint, timestamptz) is
'Gives a job in todo another time; null or the past: at once. False: not in todo. '
'Raises PQ002.';

-- A paused queue is fetched from again.
create function procrastinate_resume_queue(queue_name text)
returns void
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    perform _procrastinate_require_queue($1);
    update procrastinate_queues as q
    set paused_at = null, pause_reason = null, paused_until = null
    where q.queue_name = $1 and q.paused_at is not null;
    if found then
        perform _procrastinate_notify($1, 'job_inserted', 0);
    end if;
end;
$$;

comment on function procrastinate_resume_queue(text) is
'Ends the pause of a queue and wakes its workers; nothing if it was not paused. '
'Raises PQ003.';

-- failed -> todo (or doing -> todo, for a job whose worker is lost), by hand.
create function procrastinate_retry_job(
    job_id bigint,
    retry_at timestamptz default null,
    priority integer default null,
    queue_name text default null,
    lock text default null
)
returns boolean
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
begin
    perform _procrastinate_clear_derived();
    perform _procrastinate_check_text($4, 'queue name', 128, $4 is not null);
    if _procrastinate_retry($1, coalesce($2, procrastinate_now()), $3, $4, $5) then
        return true;
    end if;
    perform _procrastinate_require_job($1);
    return false;
end;
$$;

comment on function procrastinate_retry_job(bigint, timestamptz, integer, text, text) is
'failed or doing -> todo, attempts + 1. False: another status. '
'Raises PQ002, unique_violation.';

-- failed -> todo (or doing -> todo, for jobs whose worker is lost) for the jobs that pass
-- all filters, by hand and a bounded number a call; an outcome for each.
create function procrastinate_retry_jobs(
    queue_name text default null,
    task_name text default null,
    status procrastinate_job_status default 'failed',
    lock text default null,
    queueing_lock text default null,
    older_than interval default null,
    newer_than interval default null,
    job_ids bigint[] default null,
    all_jobs boolean default false,
    retry_at timestamptz default null,
    dry_run boolean default false,
    after_id bigint default 0,
    max_jobs integer default 500
)
returns table (job_id bigint, outcome text)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
#variable_conflict use_column
declare
    v_jobs bigint[];
begin
    perform _procrastinate_clear_derived();
    if coalesce($3, 'failed') not in ('failed', 'doing') then
        perform _procrastinate_raise('PQ003',
            'Only failed jobs, and those in doing, can be retried',
            format('The status asked for is %s.', $3),
            'Leave the status out, or ask for doing if the workers are lost.');
    end if;
    v_jobs := _procrastinate_find_jobs(
        array[coalesce($3, 'failed')], $1, $2, $4, $5, $6, $7, $8, $9, $12, $13
    );
    if $11 then
        return query select x.id, 'matched' from unnest(v_jobs) as x (id);
    else
        return query
        select x.job_id, x.outcome
        from _procrastinate_retry_many(v_jobs, coalesce($10, procrastinate_now())) as x
        order by x.job_id;
    end if;
end;
$$;

comment on function procrastinate_retry_jobs(
    text, text, procrastinate_job_status, text, text, interval, interval, bigint[], boolean,
    timestamptz, boolean, bigint, integer
) is
'failed -> todo for at most max_jobs that pass the filters; an outcome each. '
'Raises PQ003.';

-- The version of the schema: of the last migration that made it.
create function procrastinate_version()
returns text
language plpgsql stable parallel safe security definer
set search_path from current
as $$
begin
    return (
        select split_part(m.name, '_', 1)
        from procrastinate_migrations as m
        order by m.name desc
        limit 1
    );
end;
$$;

comment on function procrastinate_version() is
'Version of the schema, of the form 04.00.00; null if no migration was recorded.';

-- For whoever waits for a job: whether it is over, and the channel to LISTEN to if not. For
-- a minute from then on the ends of jobs that keep a result are announced there. Listen
-- first, then ask, and again soon, and now and then: an end that is under way when somebody
-- asks for the first time in minutes is not announced, nor is that of a job without a
-- result.
create function procrastinate_watch_job(job_id bigint)
returns table (channel text, status procrastinate_job_status, over boolean)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
#variable_conflict use_column
begin
    perform procrastinate_announce_ends_v1();
    return query
    select 'procrastinate_ended_v1', g.status, g.status not in ('todo', 'doing')
    from procrastinate_get_results_v1(array[$1]) as g;
    if not found then
        perform _procrastinate_require_job($1);
    end if;
end;
$$;

comment on function procrastinate_watch_job(bigint) is
'Whether a job is over, and the channel that announces its end. Raises PQ002.';

-- Of 3.x: todo -> cancelled or gone; with abort, doing is asked to abort.
create function procrastinate_cancel_job_v1(
    job_id bigint, abort boolean, delete_job boolean
)
returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
begin
    perform _procrastinate_clear_derived();
    return _procrastinate_cancel($1, coalesce($2, false), coalesce($3, false));
end;
$$;

comment on function procrastinate_cancel_job_v1(bigint, boolean, boolean) is
'Called by 3.x: cancels or asks to abort; the job, or null where it does not apply.';

-- Of 3.x: defers jobs, all or none; their ids in an array.
create function procrastinate_defer_jobs_v1(jobs procrastinate_job_to_defer_v1[])
returns bigint[]
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    return array(select d.id from procrastinate_defer_jobs($1) as d (id));
end;
$$;

comment on function procrastinate_defer_jobs_v1(procrastinate_job_to_defer_v1[]) is
'Called by 3.x: defers jobs, all or none.';

-- Of 3.x: one tick of a periodic task.
create function procrastinate_defer_periodic_job_v2(
    _queue_name character varying,
    _lock character varying,
    _queueing_lock character varying,
    _task_name character varying,
    _priority integer,
    _periodic_id character varying,
    _defer_timestamp bigint,
    _args jsonb
)
returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    return _procrastinate_defer_periodic(
        _task_name, _periodic_id, _defer_timestamp, _queue_name, _priority, _lock,
        _queueing_lock, _args, null
    );
end;
$$;

comment on function procrastinate_defer_periodic_job_v2(
    varchar, varchar, varchar, varchar, integer, varchar, bigint, jsonb
) is 'Called by 3.x: defers one tick of a periodic task, or returns null if it was taken.';

-- Of 3.x: the next job of a worker, a row of nulls if there is none.
create function procrastinate_fetch_job_v2(
    target_queue_names character varying[], p_worker_id bigint
)
returns procrastinate_fetched_job_v2
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
    v_job procrastinate_fetched_job_v2;
    v_id bigint;
begin
    perform _procrastinate_clear_derived();
    v_id := (
        select e.job_id
        from procrastinate_finish_and_fetch_v1(
            p_worker_id, target_queue_names, 1, null, '{}', '{}', '{}', '{}'
        ) as e
        where e.outcome = 'claimed'
    );
    if v_id is not null then
        select
            j.id, j.queue_name, j.task_name, j.priority, j.lock, j.queueing_lock, j.args,
            j.status, j.scheduled_at, j.attempts, j.abort_requested, j.worker_id
        into v_job
        from procrastinate_jobs as j
        where j.id = v_id;
    end if;
    return v_job;
end;
$$;

comment on function procrastinate_fetch_job_v2(varchar[], bigint) is
'Called by 3.x: todo -> doing for a worker''s next job.';

-- Of 3.x: doing or todo -> ended, or gone. It knows no claims: whoever calls is believed.
create function procrastinate_finish_job_v1(
    job_id bigint, end_status procrastinate_job_status, delete_job boolean
)
returns void
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
    v_found boolean;
begin
    perform _procrastinate_clear_derived();
    if $2 is null or $2 not in ('succeeded', 'failed', 'aborted') then
        raise exception
            'End status should be either "succeeded", "failed" or "aborted" (job id: %)',
            $1;
    end if;
    if $3 then
        delete from procrastinate_jobs as j
        where j.id = $1 and j.status in ('todo', 'doing');
    else
        update procrastinate_jobs as j
        set
            status = $2,
            abort_requested = false,
            attempts = least(j.attempts, 2147483646)
                + case when j.status = 'doing' then 1 else 0 end
        where j.id = $1 and j.status in ('todo', 'doing');
    end if;
    v_found := found;
    if not v_found then
        raise exception
            'Job was not found or not in "doing" or "todo" status (job id: %)', $1;
    end if;
end;
$$;

comment on function procrastinate_finish_job_v1(
    bigint, procrastinate_job_status, boolean
) is
'Called by 3.x: todo or doing -> ended, or gone. Raises P0001 for another status.';

-- Of 3.x: removes the workers whose heartbeat stopped.
create function procrastinate_prune_stalled_workers_v1(
    seconds_since_heartbeat double precision
)
returns table (worker_id bigint)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    perform _procrastinate_clear_derived();
    return query
    select w.id
    from procrastinate_prune_workers_v1(make_interval(secs => $1)) as w (id);
end;
$$;

comment on function procrastinate_prune_stalled_workers_v1(double precision) is
'Called by 3.x: removes workers whose heartbeat is older than these seconds.';

-- Of 3.x: a new worker. It does not say what it calls, and we know: this directory.
create function procrastinate_register_worker_v1()
returns table (worker_id bigint)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    worker_id := procrastinate_register_worker_v2(
        p_description => jsonb_build_object('wire', jsonb_build_array(
            'cancel_job_v1', 'defer_jobs_v1', 'defer_periodic_job_v2',
            'fetch_job_v2', 'finish_job_v1', 'prune_stalled_workers_v1',
            'register_worker_v1', 'retry_job_v1', 'retry_job_v2',
            'unregister_worker_v1', 'update_heartbeat_v1'
        ))
    );
    return next;
end;
$$;

comment on function procrastinate_register_worker_v1() is
'Called by 3.x: registers a worker and returns its id.';

-- Of 3.x: -> todo. From doing only, as its callers of 3.0 to 3.3 expect.
create function procrastinate_retry_job_v1(
    job_id bigint,
    retry_at timestamp with time zone,
    new_priority integer,
    new_queue_name character varying,
    new_lock character varying
)
returns void
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
    v_claim record;
begin
    perform _procrastinate_clear_derived();
    select d.claim_id, d.worker_id into v_claim
    from procrastinate_doing as d
    where d.job_id = $1;
    if found and _procrastinate_put_back(
        coalesce(v_claim.worker_id, 0), $1, v_claim.claim_id, 1, $2, $3, $4, $5
    ) then
        return;
    end if;

    raise exception 'Job was not found or not in "doing" status (job id: %)', $1;
end;
$$;

comment on function procrastinate_retry_job_v1(
    bigint, timestamptz, integer, varchar, varchar
) is 'Called by 3.x: back to todo, attempts + 1. Raises P0001 for another status.';

-- Of 3.x: -> todo. From doing or failed.
create function procrastinate_retry_job_v2(
    job_id bigint,
    retry_at timestamp with time zone,
    new_priority integer,
    new_queue_name character varying,
    new_lock character varying
)
returns void
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
begin
    perform _procrastinate_clear_derived();
    if _procrastinate_retry($1, $2, $3, $4, $5) then
        return;
    end if;
    raise exception 'Job was not found or has an invalid status to retry (job id: %)', $1;
end;
$$;

comment on function procrastinate_retry_job_v2(
    bigint, timestamptz, integer, varchar, varchar
) is 'Called by 3.x: back to todo, attempts + 1. Raises P0001 for another status.';

-- Of 3.x: a worker ends.
create function procrastinate_unregister_worker_v1(worker_id bigint)
returns void
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    perform _procrastinate_clear_derived();
    perform procrastinate_unregister_worker_v2($1);
end;
$$;

comment on function procrastinate_unregister_worker_v1(bigint) is
'Called by 3.x: removes a worker; an unknown one changes nothing.';

-- Of 3.x: a worker lives. An unknown one changes nothing.
create function procrastinate_update_heartbeat_v1(worker_id bigint)
returns void
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    update procrastinate_workers as w
    set last_heartbeat = procrastinate_now()
    where w.id = $1;
end;
$$;

comment on function procrastinate_update_heartbeat_v1(bigint) is
'Called by 3.x: beats for a worker.';

-- After a DELETE: what belongs to the jobs goes with them.
create function _procrastinate_jobs_deleted()
returns trigger
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off
set jit = off
as $$
declare
    v_ids bigint[];
    v_active boolean;
    v_locks text[];
begin
    if pg_trigger_depth() > 1 then
        perform set_config('procrastinate.nested', 'on', true);
    end if;
    select
        array_agg(o.id order by o.id),
        bool_or(o.status in ('todo', 'doing')),
        array_agg(distinct o.lock) filter (
            where o.lock is not null and o.status in ('todo', 'doing')
        )
    into v_ids, v_active, v_locks
    from old_jobs as o;
    if v_ids is null then
        return null;
    end if;

    if v_active then
        perform _procrastinate_reconcile(v_ids, v_locks);
    end if;
    insert into procrastinate_counts (queue_name, status, jobs)
    select o.queue_name, o.status, -count(*)
    from old_jobs as o
    where o.status > 'doing'
    group by o.queue_name, o.status;
    delete from procrastinate_events as e where e.job_id = any(v_ids);
    delete from procrastinate_results as r
    where
        r.job_id = any(v_ids)
        and (
            r.status is null
            or r.job_id <> all(array(select o.id from old_jobs as o where o.keep_result))
        );
    delete from procrastinate_keys as k where k.job_id = any(v_ids);
    update procrastinate_periodic_defers as p
    set job_id = null
    where p.job_id = any(v_ids);
    return null;
end;
$$;

comment on function _procrastinate_jobs_deleted() is
'Trigger after DELETE on procrastinate_jobs: derived rows, history and results go too.';

create trigger procrastinate_jobs_deleted_v1
after delete on procrastinate_jobs
referencing old table as old_jobs
for each statement execute function _procrastinate_jobs_deleted();

-- After an INSERT: todo and doing, the history and the wake-up, whoever wrote the rows. Of
-- the rows of one lock the first is ready: only a fetch can tell whether the lock is held.
create function _procrastinate_jobs_inserted()
returns trigger
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off
set jit = off
as $$
declare
    v_now constant timestamptz := procrastinate_now();
    v_todo bigint;
    v_doing bigint;
    v_ended bigint;
    v_nested constant boolean
        := coalesce(current_setting('procrastinate.nested', true), '') = 'on';
    v_keyed bigint[];
    v_group text;
    v_pair record;
    v_first bigint;
    v_queue text;
    v_priority integer;
    v_plain boolean;
    v_ok boolean;
begin
    select
        min(n.id), min(n.queue_name), min(n.priority),
        min(n.queue_name) = max(n.queue_name) and min(n.priority) = max(n.priority)
        and bool_and(
            n.status = 'todo' and not n.abort_requested
            and n.lock is null and n.queueing_lock is null and n.scheduled_at is null
            and n.key is null and n.group_key is null
        )
    into v_first, v_queue, v_priority, v_plain
    from new_jobs as n;

    -- most statements: jobs of one queue and priority, to run at once, without locks
    if v_plain and not v_nested then
        with waiting as (
            insert into procrastinate_todo (job_id, priority, state, queue_name)
            select n.id, n.priority, 'r', n.queue_name from new_jobs as n
        )
        insert into procrastinate_events (job_id, type, at)
        select n.id, 'deferred', v_now from new_jobs as n;
        v_ok := _procrastinate_tell(v_queue, v_priority, v_first);
        return null;
    end if;

    v_queue := null;
    select
        count(*) filter (where n.status = 'todo'),
        count(*) filter (where n.status = 'doing'),
        count(*) filter (where n.status > 'doing'),
        min(n.id) filter (where n.status = 'todo' and n.abort_requested),
        array_agg(n.id) filter (where n.key is not null),
        min(n.group_key) filter (where n.lock is null)
    into v_todo, v_doing, v_ended, v_first, v_keyed, v_group
    from new_jobs as n;
    if v_first is not null then
        perform _procrastinate_refuse_abort(v_first);
    elsif v_group is not null then
        perform _procrastinate_refuse_group(v_group);
    end if;

    if v_ended > 0 then
        insert into procrastinate_counts (queue_name, status, jobs)
        select n.queue_name, n.status, count(*) from new_jobs as n where n.status > 'doing'
        group by n.queue_name, n.status;
    end if;
    if v_doing > 0 or (v_todo > 0 and v_nested) then
        perform _procrastinate_reconcile(array(select n.id from new_jobs as n));
    elsif v_todo = 0 then
        return null;
    else  -- in one order, so that two batches do not wait for each other's queueing locks
        v_ok := v_keyed is null or _procrastinate_reconcile_keys(v_keyed);
        insert into procrastinate_todo (
            job_id, since, scheduled_at, priority, state, queue_name, lock, queueing_lock,
            due_lock
        )
        select
            n.id, case when n.line is not null then pg_current_xact_id() end,
            n.scheduled_at, n.priority,
            case
                when n.line is not null and n.nr > 1 then 'b'
                when n.scheduled_at > v_now then 'd'
                else 'r'
            end::"char",
            n.queue_name, n.line, n.queueing_lock, case when n.line is null then n.lock end
        from (
            select
                x.id, x.scheduled_at, x.priority, x.queue_name, x.lock, x.queueing_lock,
                l.line,
                row_number() over (partition by l.line order by ~x.priority, x.id) as nr
            from new_jobs as x
            cross join lateral _procrastinate_line_lock(
                x.lock, x.group_key, x.scheduled_at, v_now
            ) as l (line)
            where x.status = 'todo'
        ) as n
        order by n.queueing_lock, n.id;
    end if;

    insert into procrastinate_events (job_id, type, at)
    select n.id, e.type, case when e.nr = 1 then n.scheduled_at else v_now end
    from new_jobs as n
    cross join (
        values
            (1, 'scheduled'::procrastinate_job_event_type),
            (2, 'deferred'::procrastinate_job_event_type)
    ) as e (nr, type)
    where n.status = 'todo' and (e.nr = 2 or n.scheduled_at is not null)
    order by n.id, e.nr;

    if v_nested then  -- a trigger of a user may have deleted them again
        delete from procrastinate_events as e
        where
            e.job_id = any(array(select n.id from new_jobs as n))
            and e.job_id <> all(array(
                select j.id
                from procrastinate_jobs as j
                where j.id = any(array(select n.id from new_jobs as n))
            ));
    end if;

    for v_pair in
        select n.queue_name, n.priority, min(n.id) as job_id
        from new_jobs as n where n.status = 'todo'
        group by n.queue_name, n.priority order by n.queue_name, n.priority
    loop
        if v_queue = v_pair.queue_name then
            v_ok := _procrastinate_note_priority(v_queue, v_pair.priority);
        else
            v_queue := v_pair.queue_name;
            v_ok := _procrastinate_tell(v_queue, v_pair.priority, v_pair.job_id);
        end if;
    end loop;
    return null;
end;
$$;

comment on function _procrastinate_jobs_inserted() is
'Trigger after INSERT on procrastinate_jobs: derived rows, history, NOTIFY.';

create trigger procrastinate_jobs_inserted_v1
after insert on procrastinate_jobs
referencing new table as new_jobs
for each statement execute function _procrastinate_jobs_inserted();

-- After a TRUNCATE. Rows that the same statement has truncated are gone already, and
-- truncating their table a second time would be refused: hence the look before.
create function _procrastinate_jobs_truncated()
returns trigger
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    if exists (select from procrastinate_todo) then
        truncate procrastinate_todo;
    end if;
    if exists (select from procrastinate_doing) then
        truncate procrastinate_doing;
    end if;
    if exists (select from procrastinate_counts) then
        truncate procrastinate_counts;
    end if;
    if exists (select from procrastinate_results) then
        truncate procrastinate_results;
    end if;
    if exists (select from procrastinate_keys) then
        truncate procrastinate_keys;
    end if;
    if exists (select from procrastinate_events) then
        truncate procrastinate_events;
    end if;
    update procrastinate_periodic_defers as p
    set job_id = null
    where p.job_id is not null;
    return null;
end;
$$;

comment on function _procrastinate_jobs_truncated() is
'Trigger after TRUNCATE on procrastinate_jobs: derived rows, history and results go too.';

create trigger procrastinate_jobs_truncated_v1
after truncate on procrastinate_jobs
for each statement execute function _procrastinate_jobs_truncated();

-- After an UPDATE: refuses what the state machine does not allow, then todo and doing, the
-- history, the next holder of a lock and the wake-ups, whoever wrote the rows. The two
-- changes that each job goes through have a short way. All others, and those where a user's
-- trigger has changed the jobs again before us, are derived from their present rows.
create function _procrastinate_jobs_updated()
returns trigger
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off
set jit = off
as $$
declare
    v_now constant timestamptz := procrastinate_now();
    v_nested constant text := coalesce(current_setting('procrastinate.nested', true), '');
    v_ids bigint[];
    v_old_ids bigint[];
    v_locks text[];
    v_queues text[];
    v_aborts boolean[];
    v_statuses procrastinate_job_status[];  -- first and last, then of each changed job
    v_new_statuses procrastinate_job_status[];
    v_plain boolean;
    v_released procrastinate_doing[];
    v_ok boolean;
begin
    if pg_trigger_depth() > 1 then
        v_ok := set_config('procrastinate.nested', 'on', true) is not null;
    end if;

    select
        o.range, o.locks, n.ids, n.range, o.ids,
        n.plain and (o.locks is not null or n.free) and v_nested <> 'on'
        and (
            (o.range = '{todo,todo}' and n.range = '{doing,doing}')
            or (o.range = '{doing,doing}' and n.range[1] > 'doing')
        )
    into v_statuses, v_locks, v_ids, v_new_statuses, v_old_ids, v_plain
    from (
        select
            array_agg(x.id order by x.id) as ids,
            array[min(x.status), max(x.status)] as range,
            array_agg(distinct x.lock) filter (where x.lock is not null) as locks
        from old_jobs as x
    ) as o
    cross join (
        select
            array_agg(x.id order by x.id) as ids,
            array[min(x.status), max(x.status)] as range,
            not bool_or(x.abort_requested or x.status in ('cancelled', 'aborting')
                or x.key is not null) as plain,
            bool_and(x.lock is null) as free
        from new_jobs as x
    ) as n;
    if v_ids is null then
        return null;
    elsif v_ids <> v_old_ids then
        v_ok := _procrastinate_refuse_ids(v_old_ids, v_ids);
    elsif v_plain and v_locks is not null then  -- a lock that changes too has two lines
        v_plain := not exists (
            select from old_jobs as o join new_jobs as n on n.id = o.id
            where o.lock is distinct from n.lock
        );
    end if;

    if v_plain and v_new_statuses[1] > 'doing' then
        if v_locks is not null then
            v_ok := _procrastinate_take_locks(v_locks);
        end if;
        with gone as (
            delete from procrastinate_doing as d
            where d.job_id = any(v_ids)
            returning d as claim, d.lock
        ),
        told as (
            insert into procrastinate_events (job_id, type, at, attempt, by_worker_id)
            select n.id, _procrastinate_event_of('doing', n.status), v_now, n.attempts,
                n.worker_id
            from new_jobs as n
        ),
        counted as (
            insert into procrastinate_counts (queue_name, status, jobs)
            select n.queue_name, n.status, count(*) from new_jobs as n group by 1, 2
        )
        select array_agg(g.claim) into v_released from gone as g where g.lock is not null;
        if v_released is not null then
            v_ok := _procrastinate_promote(v_released, '{}');
        end if;
        return null;
    elsif v_plain then
        if v_locks is not null then
            v_ok := _procrastinate_jobs_started(v_ids, v_locks);
        end if;
        with started as (
            insert into procrastinate_doing (
                job_id, worker_id, head_xmin, started_at, deadline_at, heartbeat_at,
                priority, lock
            )
            select
                n.id, n.worker_id,
                case
                    when n.lock is not null then (
                        select t.head_xmin from procrastinate_todo as t
                        where t.job_id = n.id
                    )
                end,
                v_now, v_now + n.timeout, v_now + n.heartbeat, n.priority, n.lock
            from new_jobs as n
        ),
        gone as (delete from procrastinate_todo as t where t.job_id = any(v_ids))
        insert into procrastinate_events (job_id, type, at, attempt, by_worker_id)
        select n.id, 'started', v_now, n.attempts, n.worker_id from new_jobs as n;
        return null;
    end if;

    -- every other change
    perform _procrastinate_refuse_abort(n.id)
    from new_jobs as n where n.status = 'todo' and n.abort_requested;
    select
        array_agg(n.id), array_agg(o.status), array_agg(n.status), array_agg(o.queue_name),
        array_agg(n.abort_requested and not o.abort_requested)
    into v_ids, v_statuses, v_new_statuses, v_queues, v_aborts
    from old_jobs as o join new_jobs as n on n.id = o.id
    where
        (o.status, o.abort_requested, o.queue_name, o.priority, o.lock, o.queueing_lock,
            o.scheduled_at, o.worker_id, o.key)
        is distinct from (n.status, n.abort_requested, n.queue_name, n.priority, n.lock,
            n.queueing_lock, n.scheduled_at, n.worker_id, n.key)
        or (n.status = 'todo' and n.scheduled_at is not null);
    if v_ids is not null then
        v_ok := _procrastinate_jobs_changed(
            v_ids, v_statuses, v_new_statuses, v_aborts, v_queues, v_locks
        );
    end if;
    return null;
end;
$$;

comment on function _procrastinate_jobs_updated() is
'Trigger after UPDATE on procrastinate_jobs: state machine, derived rows, history, NOTIFY.';

create trigger procrastinate_jobs_updated_v1
after update on procrastinate_jobs
referencing old table as old_jobs new table as new_jobs
for each statement
-- a statement that derives all itself says so, with the depth that it runs at
when (_procrastinate_derives())
execute function _procrastinate_jobs_updated();

-- Who holds each lock, and who waits for it.
create view procrastinate_locks as
select
    l.lock,
    d.job_id as holder,
    d.worker_id,
    d.started_at as held_since,
    w.last_heartbeat,
    (
        select t.job_id
        from procrastinate_todo as t
        where t.lock = l.lock
        order by t.priority desc, t.job_id
        limit 1
    ) as next_job,
    l.waiting
from (
    select x.lock, sum(x.waiting) as waiting
    from (
        select t.lock, count(*) as waiting
        from procrastinate_todo as t
        where t.lock is not null
        group by t.lock
        union all
        select h.lock, 0 as waiting
        from procrastinate_doing as h
        where h.lock is not null
    ) as x
    group by x.lock
) as l
left join procrastinate_doing as d on d.lock = l.lock
left join procrastinate_workers as w on w.id = d.worker_id;

comment on view procrastinate_locks is
'Per lock in use: the job that holds it, since when, the next job and how many wait.';

-- What each queue does now, from the narrow tables, and how many jobs have ended, from
-- their running count.
create view procrastinate_overview as
select
    q.queue_name,
    coalesce(t.todo, 0) as todo,
    coalesce(d.doing, 0) as doing,
    coalesce(c.succeeded, 0) as succeeded,
    coalesce(c.failed, 0) as failed,
    coalesce(c.cancelled, 0) as cancelled,
    coalesce(c.aborted, 0) as aborted,
    coalesce(t.ready, 0) as ready,
    coalesce(t.delayed, 0) as delayed,
    coalesce(t.blocked, 0) as blocked,
    t.oldest_job_id as oldest_waiting,
    (
        select procrastinate_now() - greatest(max(e.at), j.scheduled_at)
        from procrastinate_events as e
        where e.job_id = j.id and e.type <> 'scheduled'
    ) as latency,
    t.next_due_at,
    s.paused_at is not null and coalesce(s.paused_until, 'infinity') > procrastinate_now()
    as paused,
    s.pause_reason
from (
    select p.queue_name from procrastinate_priorities as p
    union
    select x.queue_name from procrastinate_queues as x
    union
    select x.queue_name from procrastinate_counts as x
) as q
left join (
    select
        x.queue_name,
        count(*) as todo,
        count(*) filter (where x.state in ('r', 'a')) as ready,
        count(*) filter (where x.state = 'd') as delayed,
        count(*) filter (where x.state = 'b') as blocked,
        min(x.job_id) filter (where x.state in ('r', 'a')) as oldest_job_id,
        min(x.scheduled_at) filter (where x.state = 'd') as next_due_at
    from procrastinate_todo as x
    group by x.queue_name
) as t on t.queue_name = q.queue_name
left join (
    select j.queue_name, count(*) as doing
    from procrastinate_doing as x
    join procrastinate_jobs as j on j.id = x.job_id
    group by j.queue_name
) as d on d.queue_name = q.queue_name
left join (
    select
        x.queue_name,
        sum(x.jobs) filter (where x.status = 'succeeded') as succeeded,
        sum(x.jobs) filter (where x.status = 'failed') as failed,
        sum(x.jobs) filter (where x.status = 'cancelled') as cancelled,
        sum(x.jobs) filter (where x.status = 'aborted') as aborted
    from procrastinate_counts as x
    group by x.queue_name
) as c on c.queue_name = q.queue_name
left join procrastinate_jobs as j on j.id = t.oldest_job_id
left join procrastinate_queues as s on s.queue_name = q.queue_name;

comment on view procrastinate_overview is
'Per queue: jobs by status, ready, delayed and blocked ones, '
'how long the oldest has waited.';

-- Jobs in doing whose worker is gone, or has been silent for longer than a worker may be.
create view procrastinate_stalled as
select
    d.job_id,
    j.task_name,
    j.queue_name,
    d.lock,
    d.worker_id,
    w.name as worker_name,
    w.last_heartbeat,
    d.started_at,
    procrastinate_now() - coalesce(w.last_heartbeat, d.started_at) as silent_for
from procrastinate_doing as d
join procrastinate_jobs as j on j.id = d.job_id
left join procrastinate_workers as w on w.id = d.worker_id
where coalesce(w.last_heartbeat < procrastinate_now() - interval '30 seconds', true);

comment on view procrastinate_stalled is
'Jobs in doing whose worker is gone or has not beaten for 30 s: '
'recover_stalled_jobs takes them.';

-- Who may do what: the owner of the schema, and whoever the owner grants it to. PostgreSQL
-- gives EXECUTE on each new function to everybody: here it is taken back, by name of what
-- this project installs and of nothing else in the schema.
do $$
declare
    v_function regprocedure;
begin
    for v_function in
        select p.oid
        from pg_proc as p
        where
            p.pronamespace = quote_ident(current_schema())::regnamespace
            and p.proname ~ '^_?procrastinate_'
            and p.prokind = 'f'
        order by p.oid
    loop
        execute format('revoke execute on function %s from public', v_function);
    end loop;
end;
$$;

-- The condition of a trigger is looked at as whoever updates.
grant execute on function _procrastinate_derives() to public;

insert into procrastinate_migrations (name, sha256)
values
    ('04.00.00_01_pre_baseline', '156d0f48f1c38fbe7ba739a81cad8fc3819a6af86c2f8aceaf5044ec2e05717e');

-- Back to the caller's search_path.
do $$
declare
    v_local boolean := coalesce(
        current_setting('procrastinate.one_transaction', true) = 'yes', false
    );
begin
    perform
        set_config('search_path', current_setting('procrastinate.caller_path'), v_local),
        set_config('procrastinate.caller_path', '', v_local),
        set_config('procrastinate.target_schema', '', v_local);
end;
$$;
