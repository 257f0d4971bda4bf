-- The keys of these locks, waited for in the order of the keys, held until the transaction
-- ends. Whoever releases a lock or changes who is at its head calls this after it has
-- locked rows of procrastinate_jobs and before it changes a row of todo or doing.
--
-- The keys live in a table of fixed size that the whole server shares. A statement with
-- many takes the one key for all locks instead: decided here, before the first key, and
-- only tried, for a waiting exclusive request would stop everybody. Announcing the wish
-- keeps fetches away, so that it comes true when those under way have ended.
create function _procrastinate_take_locks(p_locks text[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_many constant integer := current_setting('max_locks_per_transaction')::integer * 8;
    v_nap double precision := 0.002;  -- seconds; doubles up to a quarter of a second
    v_waited double precision := 0;
    v_ok boolean;
begin
    if cardinality(p_locks) <= v_many then
        -- as an expression: no statement is set up for it
        v_ok := pg_advisory_xact_lock_shared(_procrastinate_all_locks_key(0)) is null;
        if cardinality(p_locks) = 1 then
            return pg_advisory_xact_lock(_procrastinate_lock_key(p_locks[1])) is not null;
        end if;
        perform pg_advisory_xact_lock(k.key)
        from (
            select distinct _procrastinate_lock_key(l.lock) as key
            from unnest(p_locks) as l (lock)
            order by 1
        ) as k;
        return true;
    end if;

    perform pg_advisory_xact_lock(_procrastinate_all_locks_key(1));
    while not pg_try_advisory_xact_lock(_procrastinate_all_locks_key(0)) loop
        -- seconds; two transactions may each hold what the other wants
        if v_waited > 10 then
            perform _procrastinate_raise(
                'PQ007',
                format('Could not get hold of all locks to change %s of them at once',
                    cardinality(p_locks)),
                'Other transactions kept changing locked jobs for 10 seconds.',
                'Run the statement again, or split it into smaller ones.'
            );
        end if;
        perform pg_sleep(v_nap);
        v_waited := v_waited + v_nap;
        v_nap := least(v_nap * 2, 0.25);
    end loop;
    return true;
end;
$$;

comment on function _procrastinate_take_locks(text[]) is
'Waits for the advisory keys of these locks, sorted by key. Raises PQ007 (all locks busy).';
