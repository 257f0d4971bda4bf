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
