\ir ../../setup.psql
select plan(7);

-- through retry_jobs and release_jobs: tests/sql/functions/wire/; here what is common to both
select job, claim, worker from a_job('doing') \gset
select is(
    _procrastinate_put_back(:worker, :job, :claim + 1, 1, null, null, null, null), false,
    'another claim does not hold'
);
select is(
    _procrastinate_put_back(:worker, :job, :claim, 1, null, null, null, null), true, 'the own does'
);
select is((select attempts from procrastinate_jobs where id = :job), 1, 'and is counted, or not');
select is(
    _procrastinate_put_back(:worker, :job, :claim, 1, null, null, null, null), false, 'once'
);
select job, claim, worker from a_job('doing') \gset
update procrastinate_jobs set worker_id = null where id = :job;
select is(
    _procrastinate_put_back(:worker, :job, :claim, 0, null, null, null, null), true,
    'a job whose worker was pruned may still be put back by it'
);
select is((select attempts from procrastinate_jobs where id = :job), 0, 'uncounted');
select is_sound();

select * from finish();
rollback;
