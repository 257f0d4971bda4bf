-- doing -> todo or failed, attempts + 1, for jobs of these tasks whose worker is gone or
-- silent. A task has a number of attempts after which its jobs fail instead of being tried
-- again: none for ever, 0 at once. Jobs of other tasks are left: they may be another
-- program's, which knows better.
--
-- The claim goes with it, so that a late finish of that worker changes nothing. A job that
-- was asked to abort, or whose queueing lock is taken, fails in any case.
create function procrastinate_recover_jobs_v1(
    p_older_than interval,
    p_task_names text[],
    p_max_attempts integer[],
    p_max_jobs integer default 1000
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
    v_job record;
    v_jobs bigint[];
    v_changed boolean;
begin
    perform _procrastinate_clear_derived();
    if
        coalesce(p_older_than, '-1') < interval '0'
        or coalesce(p_max_jobs, 0) < 1
    then
        perform _procrastinate_raise('PQ003',
            'Recovering needs an age and a number of jobs',
            format('Age %s, number %s.', coalesce(p_older_than::text, 'null'),
                coalesce(p_max_jobs::text, 'null')),
            'Give the age of the last heartbeat from which a worker counts as stalled.');
    end if;
    if
        cardinality(p_task_names) is distinct from cardinality(p_max_attempts)
        or array_position(p_task_names, null) is not null
    then
        perform _procrastinate_raise('PQ003',
            'Each task to recover needs a name and its most attempts',
            format('%s names, %s numbers.',
                coalesce(cardinality(p_task_names)::text, 'null'),
                coalesce(cardinality(p_max_attempts)::text, 'null')),
            'Null instead of a number is no limit.');
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
                    coalesce(w.last_heartbeat < procrastinate_now() - p_older_than, true)
            ))
            and j.status = 'doing'
            and j.task_name = any(p_task_names)
        order by j.id
        limit p_max_jobs
        for no key update skip locked
    );
    perform _procrastinate_lock_jobs(v_jobs, '{}');
    for v_job in
        select
            d.job_id, d.claim_id, coalesce(d.worker_id, 0) as worker_id,
            j.attempts, p.most
        from procrastinate_doing as d
        join procrastinate_jobs as j on j.id = d.job_id
        cross join lateral (
            select u.most
            from unnest(p_task_names, p_max_attempts) as u (task_name, most)
            where u.task_name = j.task_name
            limit 1
        ) as p
        where d.job_id = any(v_jobs)
        order by d.job_id
    loop
        if v_job.most is null or v_job.attempts < v_job.most then
            v_changed := _procrastinate_put_back(
                v_job.worker_id, v_job.job_id, v_job.claim_id, 1, null, null, null, null
            );
        else
            select f.outcome = 'finished' into v_changed
            from procrastinate_finish_jobs_v1(
                v_job.worker_id, array[v_job.job_id], array[v_job.claim_id],
                '{failed}', '{f}'
            ) as f;
        end if;
        continue when not v_changed;
        job_id := v_job.job_id;
        select j.status into status from procrastinate_jobs as j where j.id = v_job.job_id;
        outcome := case when status = 'todo' then 'retried' else status::text end;
        update procrastinate_events as e
        set error = coalesce(e.error, 'Its worker was gone or silent')
        where e.id = (
            select max(x.id) from procrastinate_events as x where x.job_id = v_job.job_id
        );
        return next;
    end loop;
end;
$$;

comment on function procrastinate_recover_jobs_v1(interval, text[], integer[], integer) is
'doing -> todo or failed for stalled jobs of these tasks, an outcome each. Raises PQ003.';
