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
