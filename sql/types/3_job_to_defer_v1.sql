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
