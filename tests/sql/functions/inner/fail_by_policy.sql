\ir ../../setup.psql
select plan(11);

create function fixtures.a_run(p_attempts integer, p_most integer, out job bigint, out claim bigint, out worker bigint)
language plpgsql volatile as $$
begin
    worker := a_worker();
    job := procrastinate_defer_job('q', 't', max_attempts => p_most, retry_delay => '1 min', ttl => '0');
    update procrastinate_jobs set attempts = p_attempts where id = job;
    update procrastinate_jobs set status = 'doing', worker_id = a_run.worker where id = job;
    claim := (select d.claim_id from procrastinate_doing as d where d.job_id = job);
end;
$$;
select * from a_run(0, 2) \gset
select is(
    _procrastinate_fail_by_policy(:worker, :job, :claim + 1, null, false), false, 'another claim has no say'
);
select is(_procrastinate_fail_by_policy(:worker, :job, :claim, '{"class": "E"}', false), true, 'its own has');
select results_eq(
    format('select status::text, attempts, scheduled_at from procrastinate_jobs where id = %s', :job),
    $$values ('todo', 1, procrastinate_now() + interval '1 min')$$,
    'while an attempt is left, the job waits for its delay'
);
select is_empty(format('select from procrastinate_results where job_id = %s', :job), 'it is not over');
select * from a_run(1, 2) \gset
select _procrastinate_fail_by_policy(:worker, :job, :claim, '{"class": "E"}', false) \g /dev/null
select results_eq(
    format('select status::text, attempts from procrastinate_jobs where id = %s', :job),
    $$values ('failed', 2)$$, 'after the last it has failed'
);
select results_eq(
    format('select error, status::text from procrastinate_results where job_id = %s', :job),
    $$values ('{"class": "E"}'::jsonb, 'failed')$$, 'and its error is kept as its result'
);
select * from a_run(0, null) \gset
select _procrastinate_fail_by_policy(:worker, :job, :claim, null, false) \g /dev/null
select is(status_of(:job), 'failed', 'without a number there is no other attempt');
select * from a_run(0, 5) \gset
update procrastinate_jobs set abort_requested = true where id = :job;
select _procrastinate_fail_by_policy(:worker, :job, :claim, '{"class": "E"}', false) \g /dev/null
select is(status_of(:job), 'failed', 'nor for a job that was asked to abort');
select results_eq(
    format('select error, status::text from procrastinate_results where job_id = %s', :job),
    $$values ('{"class": "E"}'::jsonb, 'failed')$$, 'whose error is kept as well'
);
select * from a_run(0, 1) \gset
select _procrastinate_fail_by_policy(:worker, :job, :claim, null, true) \g /dev/null
select is(status_of(:job), null, 'a job may be deleted at its end');
select is_sound();

select * from finish();
rollback;
