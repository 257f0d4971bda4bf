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
