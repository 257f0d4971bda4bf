\ir ../setup.psql
select plan(2);

select job from a_job('succeeded') \gset
select is(
    outcome_of(format('insert into procrastinate_results (job_id, result) values (%s, ''1'')', :job)),
    'ok', 'a job may have a result'
);
select is(
    outcome_of(format('insert into procrastinate_results (job_id, result) values (%s, ''1'')', :job)),
    '23505', 'one'
);

select * from finish();
rollback;
