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
