-- A worker lives; what it holds, for it to compare with what it runs.
--
-- After a failover that lost the last transactions an id may be given out again. A worker
-- that said "run" of itself when it registered, and says it here, is told that this row is
-- another's.
create function procrastinate_heartbeat_v1(p_worker_id bigint, p_run text default null)
returns table (job_id bigint, claim_id bigint, abort_requested boolean)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
begin
    update procrastinate_workers as w
    set last_heartbeat = procrastinate_now()
    where
        w.id = p_worker_id
        and (p_run is null or w.description ->> 'run' = p_run);
    if not found then
        perform _procrastinate_raise('PQ004',
            format('Worker %s is not registered', p_worker_id),
            'It was pruned because its heartbeat stopped, it has unregistered, or its id '
            'is another worker''s after a failover.',
            'Register again with procrastinate_register_worker_v2.');
    end if;
    return query
    select d.job_id, d.claim_id, j.abort_requested
    from procrastinate_doing as d
    join (
        select x.id, x.abort_requested
        from procrastinate_jobs as x
        where
            x.id = any(array(
                select h.job_id
                from procrastinate_doing as h
                where h.worker_id = p_worker_id
            ))
    ) as j on j.id = d.job_id
    where d.worker_id = p_worker_id
    order by d.job_id;
end;
$$;

comment on function procrastinate_heartbeat_v1(bigint, text) is
'Beats for a worker and lists the claims that it holds. Raises PQ004 (not registered).';
