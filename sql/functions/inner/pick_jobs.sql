-- Which jobs a bulk verb of the front door is about: the next p_max_jobs after p_after_id,
-- by id. Nothing is locked, so each may have changed by the time it is looked at again.
--
-- Waiting and running jobs are found in the narrow tables: a million of finished jobs costs
-- nothing then. Failed ones are in no index, so those are found by walking the primary key,
-- which a caller that goes on from the last id does once in all.
create function _procrastinate_pick_jobs(
    p_statuses procrastinate_job_status[],
    p_queue_name text,
    p_task_name text,
    p_lock text,
    p_queueing_lock text,
    p_older_than interval,
    p_newer_than interval,
    p_job_ids bigint[],
    p_all_jobs boolean,
    p_after_id bigint,
    p_max_jobs integer
)
returns bigint[]
language plpgsql stable parallel safe
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_now constant timestamptz := procrastinate_now();
begin
    if coalesce(p_max_jobs, 0) < 1 or p_after_id is null then
        perform _procrastinate_raise('PQ003',
            'Changing many jobs needs a number of jobs and where to begin',
            format('max_jobs %s, after_id %s.', coalesce(p_max_jobs::text, 'null'),
                coalesce(p_after_id::text, 'null')),
            'Ask for one job or more; begin with 0.');
    end if;
    if
        p_all_jobs is not true
        and coalesce(p_queue_name, p_task_name, p_lock, p_queueing_lock) is null
        and p_older_than is null and p_newer_than is null and p_job_ids is null
    then
        perform _procrastinate_raise('PQ003',
            'Changing many jobs needs a filter', null,
            'Name a queue, a task, a lock, an age or ids; or say all_jobs => true.');
    end if;

    return array(
        select j.id
        from (
            select t.job_id
            from procrastinate_todo as t
            where p_job_ids is null and 'todo' = any(p_statuses) and t.job_id > p_after_id
            union all
            select d.job_id
            from procrastinate_doing as d
            where p_job_ids is null and 'doing' = any(p_statuses) and d.job_id > p_after_id
            union all
            select f.id
            from procrastinate_jobs as f
            where
                p_job_ids is null and 'failed' = any(p_statuses) and f.id > p_after_id
                and f.status = 'failed'
            union all
            select n.id
            from procrastinate_jobs as n
            where n.id = any(p_job_ids) and n.id > p_after_id
        ) as c (job_id)
        join procrastinate_jobs as j on j.id = c.job_id
        where
            j.status = any(p_statuses)
            and (p_queue_name is null or j.queue_name = p_queue_name)
            and (p_task_name is null or j.task_name = p_task_name)
            and (p_lock is null or j.lock = p_lock)
            and (p_queueing_lock is null or j.queueing_lock = p_queueing_lock)
            and (
                p_older_than is null
                or coalesce(_procrastinate_since(j.id), '-infinity') < v_now - p_older_than
            )
            and (
                p_newer_than is null
                or _procrastinate_since(j.id) >= v_now - p_newer_than
            )
        order by c.job_id
        limit p_max_jobs
    );
end;
$$;

comment on function _procrastinate_pick_jobs(
    procrastinate_job_status[], text, text, text, text, interval, interval, bigint[],
    boolean, bigint, integer
) is 'The next jobs by id that pass all filters; null filters nothing. Raises PQ003.';
