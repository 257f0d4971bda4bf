-- The exclusion of a lock: refuses a second job in doing, after the rows were written and
-- with the locks' keys in hand. A transaction that cannot take a fresh snapshot cannot
-- tell.
create function _procrastinate_refuse_held(p_locks text[])
returns void
language plpgsql volatile parallel unsafe
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = on
set enable_sort = off
set jit = off
as $$
declare
    v_lock text;
begin
    select l.lock into v_lock
    from unnest(p_locks) as l (lock)
    cross join lateral (
        select count(*) as holders
        from (
            select from procrastinate_doing as d where d.lock = l.lock
            order by d.claim_id
            limit 2
        ) as x
    ) as h
    where h.holders > 1
    limit 1;
    if found then
        perform _procrastinate_raise_held(v_lock);
    end if;
end;
$$;

comment on function _procrastinate_refuse_held(text[]) is
'Raises unique_violation (procrastinate_jobs_lock_idx_v1) where two jobs hold a lock.';
