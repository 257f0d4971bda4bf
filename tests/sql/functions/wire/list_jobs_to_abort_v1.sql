\ir ../../setup.psql
select plan(2);

select a_worker() as worker \gset
select job as a from a_job('asked_to_abort', p_worker => :worker) \gset
select job as b from a_job('asked_to_abort', p_worker => :worker) \gset
select a_job('doing', p_worker => :worker) \g /dev/null
select a_job('asked_to_abort') \g /dev/null
select results_eq(
    format('select procrastinate_list_jobs_to_abort_v1(%s)', :worker),
    format('values (%s::bigint), (%s)', :a, :b),
    'all jobs that this worker runs and somebody wants aborted, in their order'
);
select is_empty('select procrastinate_list_jobs_to_abort_v1(null)', 'null is no worker');

select * from finish();
rollback;
