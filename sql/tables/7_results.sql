-- What a job leaves besides its status. Nothing writes it yet.
create table procrastinate_results (
    job_id bigint primary key,
    result jsonb,
    error jsonb,
    progress double precision,
    meta jsonb,
    updated_at timestamptz,
    expires_at timestamptz
);

create index procrastinate_results_expires_at_v1
on procrastinate_results (expires_at)
where expires_at is not null;

comment on table procrastinate_results is
'Result, error, progress and meta of the jobs that have any. Unused so far.';
