-- doing -> todo or failed, as each job's data says, for jobs past their timeout or
-- heartbeat whose worker is gone or silent. A worker that lives ends its own: two never run
-- one job.
create function procrastinate_expire_jobs_v1(
    p_older_than interval, p_max_jobs integer default 1000
)
returns table (job_id bigint, outcome text, status procrastinate_job_status)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := procrastinate_now();
    v_job record;
    v_jobs bigint[];
begin
    perform _procrastinate_clear_derived();
    if coalesce(p_older_than, '-1') < interval '0' or coalesce(p_max_jobs, 0) < 1 then
        perform _procrastinate_raise('PQ003',
            'Expiring needs an age and a number of jobs',
            format('Age %s, number %s.', coalesce(p_older_than::text, 'null'),
                coalesce(p_max_jobs::text, 'null')),
            'Give the age of the last heartbeat from which a worker counts as stalled.');
    end if;
    v_jobs := array(
        select j.id
        from procrastinate_jobs as j
        where
            j.id = any(array(
                select d.job_id
                from procrastinate_doing as d
                left join procrastinate_workers as w on w.id = d.worker_id
                where
                    least(d.deadline_at, d.heartbeat_at) < v_now
                    and coalesce(w.last_heartbeat < v_now - p_older_than, true)
            ))
            and j.status = 'doing'
        order by j.id
        limit p_max_jobs
        for no key update skip locked
    );
    perform _procrastinate_lock_jobs(v_jobs, '{}');
    for v_job in
        select
            d.job_id, d.claim_id, coalesce(d.worker_id, 0) as worker_id,
            case when d.heartbeat_at < v_now then 'heartbeat' else 'timeout' end as missed
        from procrastinate_doing as d
        where
            d.job_id = any(v_jobs)
            and least(d.deadline_at, d.heartbeat_at) < v_now
        order by d.job_id
    loop
        continue when _procrastinate_fail_by_policy(
            v_job.worker_id, v_job.job_id, v_job.claim_id,
            jsonb_build_object(
                'class', 'procrastinate.exceptions.JobTimeout',
                'message',
                format('Its %s has passed, and its worker is gone or silent', v_job.missed)
            ),
            false
        ) is not true;
        job_id := v_job.job_id;
        status := (select j.status from procrastinate_jobs as j where j.id = v_job.job_id);
        outcome := case when status = 'todo' then 'retried' else status::text end;
        return next;
    end loop;
end;
$$;

comment on function procrastinate_expire_jobs_v1(interval, integer) is
'doing -> todo or failed for jobs past their time whose worker is silent. Raises PQ003.';
