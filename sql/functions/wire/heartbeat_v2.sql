-- A worker lives; what it holds, for it to compare with what it runs: of the jobs that it
-- names, or of all.
--
-- To look for all reads procrastinate_doing from end to end, and what is gone with it while
-- somebody's snapshot keeps that from vacuum: docs/decisions/0141-a-beat-names-its-jobs.md.
--
-- After a failover that lost the last transactions an id may be given out again. A worker
-- that said "run" of itself when it registered, and says it here, is told that this row is
-- another's.
create function procrastinate_heartbeat_v2(
    p_worker_id bigint, p_run text default null, p_job_ids bigint[] default null
)
returns table (job_id bigint, claim_id bigint, abort_requested boolean)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_nestloop = off  -- a filter by an array is quadratic; both sides come in order
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
    if p_job_ids is null then
        p_job_ids := array(
            select h.job_id
            from procrastinate_doing as h
            where h.worker_id = p_worker_id
        );
    end if;
    return query
    select d.job_id, d.claim_id, j.abort_requested
    from procrastinate_doing as d
    join (
        select x.id, x.abort_requested
        from procrastinate_jobs as x
        where x.id = any(p_job_ids)
    ) as j on j.id = d.job_id
    where d.job_id = any(p_job_ids) and d.worker_id = p_worker_id
    order by d.job_id;
end;
$$;

comment on function procrastinate_heartbeat_v2(bigint, text, bigint[]) is
'Beats for a worker; its claims of these jobs, or all. Raises PQ004 (not registered).';
