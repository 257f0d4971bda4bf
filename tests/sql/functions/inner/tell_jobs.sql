\ir ../../setup.psql
-- what is heard: tests/python/sqllint/test_notify_of_jobs.py
select plan(3);

select lives_ok($$select _procrastinate_tell_jobs('c', 't', null)$$, 'of no job nothing is told');
select lives_ok($$select _procrastinate_tell_jobs('c', 't', '{}')$$, 'nor of an empty array');
select lives_ok(
    $$select _procrastinate_tell_jobs('c', 't', array(
        select 9223372036854775807 - n from generate_series(1, 1000) as n
    ))$$,
    'a payload has room for its jobs, however many and long'
);

select * from finish();
rollback;
