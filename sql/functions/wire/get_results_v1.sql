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
