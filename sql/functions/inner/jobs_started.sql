-- Before jobs enter doing by a bare UPDATE: with the keys of their locks, refuses those
-- whose lock is held. A promoted head knows up to which claim its lock was free.
create function _procrastinate_jobs_started(p_job_ids bigint[], p_locks text[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
set enable_nestloop = on
set enable_sort = off
as $$
declare
    v_lock text;
    v_ok boolean;
begin
    v_ok := _procrastinate_refuse_old_snapshot('Starting a job that has a lock');
    v_ok := _procrastinate_take_locks(p_locks);

    select min(h.lock) into v_lock
    from (
        select
            x.lock,
            count(*) over (partition by x.lock) > 1
            or exists (
                select
                from procrastinate_doing as d
                where d.lock = x.lock and d.claim_id > coalesce(x.free_after, 0)
                order by d.claim_id
                limit 1
            ) as held
        from (
            select t.job_id, t.lock, t.free_after
            from procrastinate_todo as t
            where t.job_id = any(p_job_ids)
            offset 0
        ) as x
        where x.lock is not null
    ) as h
    where h.held;
    if v_lock is not null then
        perform _procrastinate_raise_held(v_lock);
    end if;
    return v_ok;
end;
$$;

comment on function _procrastinate_jobs_started(bigint[], text[]) is
'Raises unique_violation (procrastinate_jobs_lock_idx_v1) if one of these locks is held.';
