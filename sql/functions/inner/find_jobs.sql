-- Which jobs a bulk verb of the front door is about: the next p_max_jobs after p_after_id,
-- by id. Nothing is locked, so each may have changed by the time it is looked at again.
--
-- Waiting and running jobs are found in the narrow tables: a million finished jobs cost
-- nothing then. Failed ones are in no index, so those are found by walking the primary key,
-- which a caller that goes on from the last id does once in all.
--
-- Candidates are taken by some hundreds or thousands and then sifted. In one statement
-- the planner, which knows no value, expects a row or none, and reads and sorts all that
-- there are in each call.
create function _procrastinate_find_jobs(
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
set max_parallel_workers_per_gather = 0
set jit = off
as $$
declare
    v_now constant timestamptz := procrastinate_now();
    v_size integer := p_max_jobs;
    v_at bigint := p_after_id;
    v_chunk bigint[];
    v_found bigint[] := array[]::bigint[];
begin
    if p_older_than < interval '0' or p_newer_than < interval '0' then
        perform _procrastinate_raise('PQ003',
            'The age of jobs is negative',
            format('older_than %s, newer_than %s.', coalesce(p_older_than::text, 'null'),
                coalesce(p_newer_than::text, 'null')),
            'Give how long ago they were deferred, as in interval ''1 day''.');
    end if;
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

    loop
        v_chunk := array(
            select x.id
            from (
                (
                    select t.job_id as id
                    from procrastinate_todo as t
                    where
                        p_job_ids is null and 'todo' = any(p_statuses) and t.job_id > v_at
                    order by t.job_id
                    limit v_size
                )
                union all
                (
                    select d.job_id
                    from procrastinate_doing as d
                    where
                        p_job_ids is null and 'doing' = any(p_statuses) and d.job_id > v_at
                    order by d.job_id
                    limit v_size
                )
                union all
                (
                    select f.id
                    from procrastinate_jobs as f
                    where
                        p_job_ids is null and 'failed' = any(p_statuses) and f.id > v_at
                        and f.status = 'failed'
                    order by f.id
                    limit v_size
                )
                union all
                select n.id from unnest(p_job_ids) as n (id) where n.id > v_at
            ) as x
            order by x.id
            limit v_size
        );
        v_found := v_found || array(
            select j.id
            from procrastinate_jobs as j
            where
                j.id = any(v_chunk)
                and j.status = any(p_statuses)
                and (p_queue_name is null or j.queue_name = p_queue_name)
                and (p_task_name is null or j.task_name = p_task_name)
                and (p_lock is null or j.lock = p_lock)
                and (p_queueing_lock is null or j.queueing_lock = p_queueing_lock)
                and (
                    p_older_than is null
                    or coalesce(_procrastinate_since(j.id), '-infinity')
                    < v_now - p_older_than
                )
                and (
                    p_newer_than is null
                    or _procrastinate_since(j.id) >= v_now - p_newer_than
                )
            order by j.id
            limit p_max_jobs - cardinality(v_found)
        );
        exit when cardinality(v_chunk) < v_size or cardinality(v_found) >= p_max_jobs;
        v_at := v_chunk[v_size];
        v_size := greatest(v_size, least(v_size * 2, 20000));
    end loop;
    return v_found;
end;
$$;

comment on function _procrastinate_find_jobs(
    procrastinate_job_status[], text, text, text, text, interval, interval, bigint[],
    boolean, bigint, integer
) is 'The next jobs by id that pass all filters; null filters nothing. Raises PQ003.';
