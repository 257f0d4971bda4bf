-- Deletes finished jobs whose last event is old, oldest ids first, a bounded number a call:
-- a scheduled event in the future keeps a job, as in 3.x.
--
-- Ages are in no index, but ids grow with time: the walk by id ends where jobs begin that
-- were deferred too lately to have ended long ago. Two of them, a hundred jobs apart, must
-- say so, for the id of one may be out of turn:
-- docs/decisions/0066-where-a-purge-ends.md.
--
-- Jobs and their events are read side by side, once: a step's history lies together, and to
-- look it up job by job took as long as all the rest.
create function procrastinate_purge_jobs(
    older_than interval,
    queue_name text default null,
    statuses procrastinate_job_status[] default '{succeeded}',
    max_jobs integer default 10000
)
returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off
set jit = off
as $$
declare
    v_before constant timestamptz := procrastinate_now() - $1;
    v_size integer := 1000;
    v_at bigint := -9223372036854775808;
    v_to bigint;
    v_seen integer;
    v_count bigint;
    v_deleted bigint := 0;
begin
    perform _procrastinate_clear_derived();
    if
        $1 is null or $1 < interval '0' or coalesce($4, 0) < 1
        or coalesce(cardinality($3), 0) = 0 or array_position($3, null) is not null
    then
        perform _procrastinate_raise('PQ003',
            'A purge needs an age, a status and a number of jobs',
            format('older_than %s, statuses %s, max_jobs %s.', coalesce($1::text, 'null'),
                coalesce($3::text, 'null'), coalesce($4::text, 'null')),
            'For example procrastinate_purge_jobs(interval ''30 days'').');
    end if;
    if $3 && array['todo', 'doing']::procrastinate_job_status[] then
        perform _procrastinate_raise('PQ003',
            'Only finished jobs can be purged', format('Got %s.', $3::text),
            'Leave out todo and doing; cancel waiting jobs first.');
    end if;

    loop
        select max(s.id), count(*) into v_to, v_seen
        from (
            select j.id
            from procrastinate_jobs as j
            where j.id > v_at
            order by j.id
            limit v_size
        ) as s;
        delete from procrastinate_jobs as j
        where
            j.id = any(array(
                select x.id
                from procrastinate_jobs as x
                where
                    x.id > v_at and x.id <= v_to
                    and x.status = any($3)
                    and ($2 is null or x.queue_name = $2)
                    and not exists (
                        select
                        from (
                            select e.job_id
                            from procrastinate_events as e
                            where
                                e.job_id > v_at and e.job_id <= v_to
                                and e.at >= v_before
                        ) as y
                        where y.job_id = x.id
                    )
                order by x.id
                limit $4 - v_deleted
                for update of x skip locked
            ));
        get diagnostics v_count = row_count;
        v_deleted := v_deleted + v_count;
        exit when
            v_seen < v_size or v_deleted >= $4
            or _procrastinate_are_young(v_to, v_before);
        v_at := v_to;
        v_size := least(v_size * 2, 10000);
    end loop;
    return v_deleted;
end;
$$;

comment on function procrastinate_purge_jobs(
    interval, text, procrastinate_job_status[], integer
) is
'Deletes at most max_jobs finished jobs whose last event is older; how many. Raises PQ003.';
