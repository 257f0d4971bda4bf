-- doing -> todo for jobs whose worker is gone or silent, attempts + 1. The claim goes with
-- it, so that a late finish of that worker changes nothing. A job that was asked to abort,
-- or whose queueing lock is taken, ends as failed.
create function procrastinate_recover_stalled_jobs(
    older_than interval default '30 seconds', max_jobs integer default 1000
)
returns setof bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
    v_job record;
    v_jobs bigint[];
begin
    perform _procrastinate_clear_derived();
    if $1 is null or $1 < interval '0' or coalesce($2, 0) < 1 then
        perform _procrastinate_raise('PQ003',
            'Recovering needs an age and a number of jobs',
            format('older_than %s, max_jobs %s.', coalesce($1::text, 'null'),
                coalesce($2::text, 'null')),
            'For example procrastinate_recover_stalled_jobs(interval ''30 seconds'').');
    end if;
    v_jobs := array(
        select j.id
        from procrastinate_jobs as j
        where
            j.id = any(array(
                select d.job_id
                from procrastinate_doing as d
                left join procrastinate_workers as w on w.id = d.worker_id
                where coalesce(w.last_heartbeat < procrastinate_now() - $1, true)
            ))
            and j.status = 'doing'
        order by j.id
        limit $2
        for no key update skip locked
    );
    perform _procrastinate_lock_jobs(v_jobs, '{}');
    for v_job in
        select d.job_id, d.claim_id, d.worker_id
        from procrastinate_doing as d
        where d.job_id = any(v_jobs)
        order by d.job_id
    loop
        if _procrastinate_put_back(
            coalesce(v_job.worker_id, 0), v_job.job_id, v_job.claim_id, 1,
            null, null, null, null
        ) then
            return next v_job.job_id;
        end if;
    end loop;
end;
$$;

comment on function procrastinate_recover_stalled_jobs(interval, integer) is
'doing -> todo for jobs of workers that are gone or silent, attempts + 1; their ids.';
