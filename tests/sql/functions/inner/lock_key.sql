\ir ../../setup.psql
select plan(5);

select is(
    _procrastinate_lock_key('a'), _procrastinate_lock_key('a'), 'a lock has a key, always the same'
);
select isnt(_procrastinate_lock_key('a'), _procrastinate_lock_key('b'), 'another has another');
select is(_procrastinate_lock_key(null), null, 'none has none');
select isnt(_procrastinate_lock_key(''), null, 'an empty one is one');
select isnt(
    _procrastinate_lock_key('a'), hashtextextended('a', 0),
    'a second schema in the database has keys of its own'
);

select * from finish();
rollback;
