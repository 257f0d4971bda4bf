-- Makes todo and doing true for these jobs, from their present rows: for every change but
-- the two that each job goes through, which the update trigger does itself.
--
-- Order: the rows of procrastinate_jobs are locked already (their statement has just
-- changed them) -> keys of all locks concerned -> doing and todo.
create function _procrastinate_reconcile(p_job_ids bigint[], p_locks text[] default '{}')
returns void
language plpgsql volatile parallel unsafe
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off
set jit = off
as $$
declare
    v_now constant timestamptz := procrastinate_now();
    v_locks text[];
    v_moved text[];
    v_released procrastinate_doing[];
    v_free text[];
begin
    -- the locks of these jobs, before and after
    select array_agg(distinct x.lock) into v_locks
    from (
        select l.lock from unnest(p_locks) as l (lock)
        union all
        select j.lock from procrastinate_jobs as j
        where j.id = any(p_job_ids) and j.status in ('todo', 'doing')
        union all
        select coalesce(t.lock, t.due_lock)
        from procrastinate_todo as t
        where t.job_id = any(p_job_ids)
        union all
        select d.lock from procrastinate_doing as d where d.job_id = any(p_job_ids)
    ) as x
    where x.lock is not null;
    if v_locks is not null then
        if current_setting('transaction_isolation') <> 'read committed' and exists (
            select
            from procrastinate_jobs as j
            left join procrastinate_doing as d on d.job_id = j.id and d.lock = j.lock
            where
                j.id = any(p_job_ids)
                and j.status = 'doing' and j.lock is not null and d.job_id is null
        ) then
            perform _procrastinate_refuse_old_snapshot('Starting a job that has a lock');
        end if;
        perform _procrastinate_take_locks(v_locks);
    end if;

    with gone as (
        delete from procrastinate_doing as d
        where
            d.job_id = any(p_job_ids)
            and not exists (
                select
                from (
                    select x.id, x.status
                    from procrastinate_jobs as x
                    where x.id = any(p_job_ids)
                ) as j
                where j.id = d.job_id and j.status = 'doing'
            )
        returning d as claim, d.lock
    )
    select array_agg(g.claim), array_agg(g.lock)
    into v_released, v_free
    from gone as g
    where g.lock is not null;

    perform
        _procrastinate_reconcile_keys(p_job_ids),
        _procrastinate_reconcile_todo(p_job_ids);

    with moved as (
        update procrastinate_doing as d
        set
            worker_id = j.worker_id,
            lock = j.lock,
            head_xmin = case when d.lock is not distinct from j.lock then d.head_xmin end
        from (
            select x.id, x.worker_id, x.lock
            from procrastinate_jobs as x
            where x.id = any(p_job_ids)
        ) as j
        where
            d.job_id = any(p_job_ids)
            and d.job_id = j.id
            and (d.worker_id, d.lock) is distinct from (j.worker_id, j.lock)
        returning d.lock
    )
    select array_agg(m.lock) into v_moved from moved as m where m.lock is not null;
    if v_moved is not null then
        -- it may hold its lock by an older claim than a promoted head of that lock knows of
        update procrastinate_todo as t
        set head_xmin = null, free_after = null
        where t.lock = any(v_moved) and t.head_xmin is not null;
    end if;

    insert into procrastinate_doing (
        job_id, worker_id, started_at, deadline_at, heartbeat_at, priority, lock
    )
    select
        j.id, j.worker_id, v_now, v_now + j.timeout, v_now + j.heartbeat, j.priority, j.lock
    from procrastinate_jobs as j
    where
        j.id = any(p_job_ids)
        and j.status = 'doing'
        and not exists (
            select
            from (
                select x.job_id
                from procrastinate_doing as x
                where x.job_id = any(p_job_ids)
            ) as d
            where d.job_id = j.id
        );

    if v_locks is not null then
        perform _procrastinate_refuse_held(v_locks);
        perform _procrastinate_promote(
            v_released,
            array(
                select l.lock from unnest(v_locks) as l (lock)
                except
                select f.lock from unnest(v_free) as f (lock)
            )
        );
    end if;
end;
$$;

comment on function _procrastinate_reconcile(bigint[], text[]) is
'Derives todo and doing anew for these jobs and promotes the heads of their locks.';
