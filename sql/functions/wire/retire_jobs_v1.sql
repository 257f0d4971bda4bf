-- Retention, a bounded step a call: of the next jobs by id, those that ended long ago go.
--
-- A pass over them begins at 0 and goes on from next_id until that is null. It ends at the
-- first job that was deferred too lately to have ended long ago, for so were all after it:
-- what it costs is the jobs that were deferred before, and neither those ended lately nor
-- ten million in all. One caller at a time; nothing waits for it, and it waits for nobody.
-- Jobs and their events are read side by side, as procrastinate_purge_jobs does.
create function procrastinate_retire_jobs_v1(
    p_older_than interval, p_after_id bigint default 0, p_max_jobs integer default 1000
)
returns table (retired bigint, next_id bigint)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off
set jit = off
as $$
declare
    v_before constant timestamptz := procrastinate_now() - p_older_than;
    v_seen bigint;
    v_to bigint;
begin
    perform _procrastinate_clear_derived();
    if
        p_older_than is null or p_older_than < interval '0' or p_after_id is null
        or coalesce(p_max_jobs, 0) < 1
    then
        perform _procrastinate_raise('PQ003',
            'Retention needs an age, where to begin and a number of jobs',
            format('p_older_than %s, p_after_id %s, p_max_jobs %s.',
                coalesce(p_older_than::text, 'null'), coalesce(p_after_id::text, 'null'),
                coalesce(p_max_jobs::text, 'null')),
            'For example procrastinate_retire_jobs_v1(interval ''30 days'').');
    end if;
    retired := 0;
    -- 0 and 1 are about the locks of jobs, 2 is the sweep's
    if not pg_try_advisory_xact_lock(_procrastinate_all_locks_key(3)) then
        return next;
        return;
    end if;

    select max(s.id), count(*) into v_to, v_seen
    from (
        select j.id
        from procrastinate_jobs as j
        where j.id > p_after_id
        order by j.id
        limit p_max_jobs
    ) as s;
    delete from procrastinate_jobs as j
    where
        j.id = any(array(
            select x.id
            from procrastinate_jobs as x
            join (
                select e.job_id
                from procrastinate_events as e
                where e.job_id > p_after_id and e.job_id <= v_to
                group by e.job_id
                having max(e.at) < v_before
            ) as o on o.job_id = x.id
            where
                x.id > p_after_id and x.id <= v_to
                and x.status not in ('todo', 'doing')
            order by x.id
            for update of x skip locked
        ));
    get diagnostics retired = row_count;

    if v_seen = p_max_jobs and not exists (
        select
        from procrastinate_events as e
        where
            e.job_id = v_to
            and e.type = 'deferred'
            and e.at >= v_before
    ) then
        next_id := v_to;
    end if;
    return next;
end;
$$;

comment on function procrastinate_retire_jobs_v1(interval, bigint, integer) is
'Deletes what ended long ago among the next jobs by id; where to go on. Raises PQ003.';
