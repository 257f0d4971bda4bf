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
