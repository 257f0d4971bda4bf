\ir ../../setup.psql
select plan(5);

select is(_procrastinate_next_locks('', 10), '{}', 'nobody waits for a lock');
select a_job(p_lock => l) from unnest('{b,a,c,a,b}'::text[]) as l \g /dev/null
select a_job() \g /dev/null
select is(_procrastinate_next_locks('', 10), '{a,b,c}', 'each lock once, in order');
select is(_procrastinate_next_locks('a', 10), '{b,c}', 'after the one given');
select is(_procrastinate_next_locks('a', 1), '{b}', 'so many at most');
select is(_procrastinate_next_locks('c', 10), '{}', 'to the end');

select * from finish();
rollback;
