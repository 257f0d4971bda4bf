\ir ../../setup.psql
select plan(8);

-- through fetch_jobs: tests/sql/functions/wire/fetch_jobs_v1.sql; here the marks that it returns
select is(
    (select c.o_job_ids from _procrastinate_pick_jobs('{none}', 5, null, null) as c),
    '{}', 'a queue that nobody knows has no job'
);
select job as a from a_job(p_priority => 1) \gset
select job as b from a_job() \gset
select c.o_job_ids as ids, c.o_marks as marks, c.o_more as more
from _procrastinate_pick_jobs('{q}', 5, null, null) as c \gset
select is(:'ids'::bigint[], array[:a, :b]::bigint[], 'what may run is picked');
select is(status_of(:a), 'todo', 'and not started yet');
select is(
    cardinality((:'marks'::bigint[])[9:]) % 3, 0, 'marks are triples after a head of eight'
);
select is(
    cardinality(:'marks'::bigint[]), 14, 'one for each priority that the queue has used'
);
select is(:'more'::boolean, false, 'there is no more');
update procrastinate_jobs set status = 'doing';
select is(
    (select c.o_job_ids from _procrastinate_pick_jobs('{q}', 5, :'marks', null) as c),
    '{}', 'with the marks nothing is picked that runs'
);
select is_sound();

select * from finish();
rollback;
