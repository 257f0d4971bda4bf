\ir ../../setup.psql
select plan(6);

select job as plain from a_job('succeeded') \gset
select job as kept from a_job('failed') \gset
update procrastinate_jobs set ttl = '1 min' where id = :kept;
insert into procrastinate_results (job_id, result, error, progress, meta, expires_at, status)
values
    (:kept, '1', '{"class": "E"}', 0.5, '{"a": 1}', procrastinate_now() + interval '1 min', 'failed'),
    (7, '2', null, null, null, procrastinate_now() + interval '1 h', 'succeeded');
select results_eq(
    format('select job_id, status::text, attempts, stored, result, keeps from procrastinate_get_results_v1(array[%s, %s, 7, -1, 7])', :kept, :plain),
    format($$values
        (7::bigint, 'succeeded', null::integer, true, '2'::jsonb, true), (%s, 'succeeded', 1, false, null, false),
        (%s, 'failed', 1, true, '1', true)$$, :plain, :kept),
    'a row for each job that exists, or has left a result'
);
select results_eq(
    format('select error, progress, meta, expires_at from procrastinate_get_results_v1(array[%s])', :kept),
    $$values ('{"class": "E"}'::jsonb, 0.5::double precision, '{"a": 1}'::jsonb, procrastinate_now() + interval '1 min')$$,
    'with all that it left'
);
select travel('1 min') \g /dev/null
select results_eq(
    format('select status::text, stored, result, keeps from procrastinate_get_results_v1(array[%s])', :kept),
    $$values ('failed', false, null::jsonb, true)$$, 'what has expired is none, purged or not'
);
select travel('1 h') \g /dev/null
select is_empty('select procrastinate_get_results_v1(array[7])', 'nor is there a job then');
select is_empty('select procrastinate_get_results_v1(null)', 'null is none');
select is_empty('select procrastinate_get_results_v1(''{}'')', 'none, none');

select * from finish();
rollback;
