-- What each worker does now and then for all: heads that stand parked though nobody holds
-- their lock (a caller in REPEATABLE READ may leave one) are promoted, the numbers of
-- workers that are gone are taken off finished jobs, and results past their time are
-- deleted, a bounded number a call.
create function procrastinate_sweep_v1(p_max_jobs integer default 1000)
returns table (promoted bigint, unlinked bigint)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
    v_at procrastinate_sweep;
    v_locks text[];
    v_lost text[];
    v_to bigint;
    v_seen bigint;
begin
    perform _procrastinate_clear_derived();
    if coalesce(p_max_jobs, 0) < 1 then
        perform _procrastinate_raise('PQ003',
            format('The number of jobs to sweep is %s', coalesce(p_max_jobs::text, 'null')),
            null, 'Ask for one job or more.');
    end if;
    perform _procrastinate_refuse_old_snapshot('Sweeping');
    promoted := 0;
    unlinked := 0;
    insert into procrastinate_sweep (id) values (default) on conflict do nothing;
    select s.id, s.last_job_id, s.last_lock into v_at
    from procrastinate_sweep as s
    for no key update skip locked;
    if not found then  -- another worker sweeps
        return next;
        return;
    end if;

    v_locks := _procrastinate_next_locks(v_at.last_lock, p_max_jobs);
    v_lost := array(select h.lock from _procrastinate_lost_heads(v_locks) as h);
    if cardinality(v_lost) > 0 then
        perform _procrastinate_take_locks(v_lost);
        promoted := cardinality(v_lost);
        perform _procrastinate_promote(null, v_lost);
        promoted := promoted - (select count(*) from _procrastinate_lost_heads(v_lost));
    end if;

    perform _procrastinate_fold_counts(), _procrastinate_purge_results(p_max_jobs);

    select max(x.id), count(*) into v_to, v_seen
    from (
        select j.id
        from procrastinate_jobs as j
        where j.id > v_at.last_job_id
        order by j.id
        limit p_max_jobs
    ) as x;
    with mine as (
        update procrastinate_jobs as j
        set worker_id = null
        where
            j.id = any(array(
                select x.id
                from procrastinate_jobs as x
                where
                    x.id > v_at.last_job_id and x.id <= v_to
                    and x.worker_id is not null
                    and x.status not in ('todo', 'doing')
                    and not exists (
                        select from procrastinate_workers as w where w.id = x.worker_id
                    )
                order by x.id
                for no key update skip locked
            ))
        returning j.id
    )
    select count(*) into unlinked from mine as m;

    update procrastinate_sweep as s  -- at the end: from the start again
    set
        last_job_id = case when v_seen = p_max_jobs then v_to else 0 end,
        last_lock = v_locks[p_max_jobs];
    return next;
end;
$$;

comment on function procrastinate_sweep_v1(integer) is
'Promotes heads of locks that were left parked, unlinks finished jobs from gone workers.';
