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
