\ir ../../setup.psql
select plan(7);

-- through fetch_jobs: tests/sql/functions/wire/fetch_jobs_v1.sql; here the marks that it returns
select a_worker() as worker \gset
select is(
    (select c.o_job_ids from _procrastinate_claim_jobs(:worker, '{none}', 5, null, null) as c),
    '{}', 'a queue that nobody knows has no job'
);
select job as a from a_job(p_priority => 1) \gset
select job as b from a_job() \gset
select c.o_job_ids as ids, c.o_marks as marks, c.o_more as more
from _procrastinate_claim_jobs(:worker, '{q}', 5, null, null) as c \gset
select is(:'ids'::bigint[], array[:a, :b]::bigint[], 'what may run is claimed');
select ok(cardinality(:'marks'::bigint[]) % 3 = 0, 'marks are triples after a head of three');
select is(
    cardinality(:'marks'::bigint[]), 9, 'one for each priority that the queue has used'
);
select is(:'more'::boolean, false, 'there is no more');
select is(
    (select c.o_job_ids from _procrastinate_claim_jobs(:worker, '{q}', 5, :'marks', null) as c),
    '{}', 'with the marks nothing is claimed twice'
);
select is_sound();

select * from finish();
rollback;
