-- Of the jobs that a worker names, or of all that it runs, those that were asked to abort.
-- For all it reads procrastinate_doing from end to end, as procrastinate_heartbeat_v2 does.
create function procrastinate_list_jobs_to_abort_v2(
    p_worker_id bigint, p_job_ids bigint[] default null
)
returns setof bigint
language plpgsql stable parallel safe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_nestloop = off  -- a filter by an array is quadratic; both sides come in order
set jit = off
as $$
begin
    if p_job_ids is null then
        p_job_ids := array(
            select h.job_id
            from procrastinate_doing as h
            where h.worker_id = p_worker_id
        );
    end if;
    return query
    select d.job_id
    from procrastinate_doing as d
    join (
        select x.id
        from procrastinate_jobs as x
        where x.id = any(p_job_ids) and x.abort_requested
    ) as j on j.id = d.job_id
    where d.job_id = any(p_job_ids) and d.worker_id = p_worker_id
    order by d.job_id;
end;
$$;

comment on function procrastinate_list_jobs_to_abort_v2(bigint, bigint[]) is
'Of these jobs of a worker, or of all, the ids of those that were asked to abort.';
