-- The exclusion of a lock: refuses a second job in doing, after the rows were written and with
-- the locks' keys in hand. A transaction that cannot take a fresh snapshot cannot tell.
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

create function _procrastinate_raise_held(p_lock text)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    raise exception using
        errcode = 'unique_violation',
        constraint = 'procrastinate_jobs_lock_idx_v1',
        schema = current_schema(),
        table = 'procrastinate_doing',
        message = 'duplicate key value violates unique constraint '
            || '"procrastinate_jobs_lock_idx_v1"',
        detail = format('Key (lock)=(%s) already exists.', p_lock),
        hint = 'A job with this lock is in doing: let it end, or retry it if its worker is gone.';
end;
$$;

comment on function _procrastinate_raise_held(text) is
'Raises unique_violation (procrastinate_jobs_lock_idx_v1) for a lock that is held.';

-- Without a fresh snapshot nobody can tell whether a lock is held.
create function _procrastinate_refuse_old_snapshot(p_what text)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
        perform _procrastinate_raise(
            'PQ005',
            format('%s needs the isolation level READ COMMITTED, not %s', p_what,
                upper(current_setting('transaction_isolation'))),
            'A transaction with one snapshot cannot see who holds a lock now.',
            'Run it outside that transaction; if that is the default of the role: '
            'ALTER ROLE … SET default_transaction_isolation TO ''read committed''.'
        );
    end if;
    return true;
end;
$$;

comment on function _procrastinate_refuse_old_snapshot(text) is
'Raises PQ005 (wrong isolation) in REPEATABLE READ or stricter.';
