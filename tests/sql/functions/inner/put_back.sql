\ir ../../setup.psql
select plan(12);

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

-- Another job waits with the queueing lock
select job, claim, worker from a_job('doing', p_queueing_lock => 'ql') \gset
select job as other, claim as other_claim from a_job('doing', p_worker => :worker) \gset
select a_job(p_queueing_lock => 'ql') \g /dev/null
select is(
    _procrastinate_put_back(:worker, :job, :claim + 1, 1, null, null, null, null), false,
    'only the own claim is ended'
);
select is(
    _procrastinate_put_back(:worker, :job, :claim, 1, now(), 7, null, null), true,
    'where the queueing lock is taken too'
);
select results_eq(
    format('select status::text, attempts, priority, scheduled_at from procrastinate_jobs'
        ' where id in (%s, %s) order by id', :job, :other),
    $$values ('failed', 1, 0, null::timestamptz), ('doing', 0, 0, null)$$,
    'the job has failed and is otherwise as it was; others run on'
);
select results_eq(
    format('select type::text, error from procrastinate_events where job_id = %s order by id', :job),
    $$values
        ('deferred', null), ('started', null),
        ('failed', 'Not put back: another job waits with the queueing lock ql')
    $$,
    'its last event alone says why'
);
select is(
    (select count(*) from procrastinate_events where error is not null), 1::bigint,
    'and no event of another job'
);
select is_sound();

select * from finish();
rollback;
