\ir ../setup.psql
select plan(4);

select job, claim from a_job('doing') \gset
select job as other, claim as other_claim from a_job('doing') \gset
select cmp_ok(:other_claim::bigint, '>', :claim::bigint, 'each claim has a number, and they rise');
select is(
    outcome_of(format(
        'insert into procrastinate_doing (job_id, priority) values (%s, 0)', :job
    )),
    '23505', 'a job has one row'
);
select is(
    (select started_at from procrastinate_doing where job_id = :job), procrastinate_now(),
    'that knows since when'
);
update procrastinate_jobs set status = 'todo' where id = :job;
update procrastinate_jobs set status = 'doing' where id = :job;
select isnt(
    (select claim_id from procrastinate_doing where job_id = :job), :claim::bigint,
    'a second claim of the job is another'
);

select * from finish();
rollback;
