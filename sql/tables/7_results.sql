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
