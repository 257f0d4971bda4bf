\ir ../setup.psql
select plan(3);

select is(
    outcome_of($$insert into procrastinate_keys (key, job_id) values ('a', 1), ('b', 2)$$), 'ok',
    'jobs may have keys'
);
select is(outcome_of(s), '23505', 'one key a job, one job a key')
from unnest(array[
    $$insert into procrastinate_keys (key, job_id) values ('a', 3)$$,
    $$insert into procrastinate_keys (key, job_id) values ('c', 1)$$
]) as s;

select * from finish();
rollback;
