\ir ../../setup.psql
select plan(5);

create function fixtures.keys_held() returns bigint language sql volatile as $$
    select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()
$$;
select is(keys_held(), 0::bigint, 'nothing is held');
select _procrastinate_take_locks('{a,b,a}') \g /dev/null
select is(keys_held(), 3::bigint, 'a key for each lock, and a share in all');
select ok(
    pg_try_advisory_xact_lock(_procrastinate_lock_key('a')), 'that of the lock is among them'
);
select _procrastinate_take_locks(
    array(select 'lock ' || n from generate_series(1, 100000) as n)
) \g /dev/null
select cmp_ok(keys_held(), '<', 10::bigint, 'a statement with very many takes one key for all');
select lives_ok($$select _procrastinate_take_locks('{}')$$, 'none, none');

select * from finish();
rollback;
