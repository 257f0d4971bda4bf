\ir ../../setup.psql
select plan(2);

select is(
    (select count(distinct _procrastinate_all_locks_key(n)) from generate_series(0, 3) as n),
    4::bigint, 'each purpose has a key of its own'
);
select isnt(
    _procrastinate_all_locks_key(0), _procrastinate_lock_key(''),
    'that is no lock''s, not even the empty one''s'
);

select * from finish();
rollback;
