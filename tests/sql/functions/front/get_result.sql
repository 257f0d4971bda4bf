\ir ../../setup.psql
select plan(3);

select job from a_job('succeeded') \gset
select results_eq(
    format('select status::text, attempts, result from procrastinate_get_result(%s)', :job),
    $$values ('succeeded', 1, null::jsonb)$$, 'a job without a result has a status'
);
insert into procrastinate_results (job_id, result, error, progress, meta, updated_at, status)
values (:job, '1', '{}', 0.5, '{"a": 1}', procrastinate_now(), 'succeeded');
select results_eq(
    format('select result, error, progress, meta, updated_at, expires_at from procrastinate_get_result(job_id => %s)', :job),
    $$values ('1'::jsonb, '{}'::jsonb, 0.5::double precision, '{"a": 1}'::jsonb, procrastinate_now(), null::timestamptz)$$,
    'and all that it left'
);
select is(outcome_of('select procrastinate_get_result(-1)'), 'PQ002', 'no job, no result');

select * from finish();
rollback;
