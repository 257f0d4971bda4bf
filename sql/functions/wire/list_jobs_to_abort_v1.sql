-- The jobs that a worker runs and that were asked to abort.
create function procrastinate_list_jobs_to_abort_v1(p_worker_id bigint)
returns setof bigint
language plpgsql stable parallel safe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
begin
    return query
    select j.id
    from procrastinate_jobs as j
    where
        j.id = any(array(
            select d.job_id from procrastinate_doing as d where d.worker_id = p_worker_id
        ))
        and j.abort_requested
    order by j.id;
end;
$$;

comment on function procrastinate_list_jobs_to_abort_v1(bigint) is
'Ids of the jobs of a worker that were asked to abort.';
