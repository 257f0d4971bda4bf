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
