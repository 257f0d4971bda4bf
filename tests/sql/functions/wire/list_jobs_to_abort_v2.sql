\ir ../../setup.psql
select plan(6);

select a_worker() as worker \gset
select is_empty(
    format('select procrastinate_list_jobs_to_abort_v2(%s)', :worker), 'nobody asked for anything'
);
select job as a from a_job('asked_to_abort', p_worker => :worker) \gset
select job as b from a_job('asked_to_abort', p_worker => :worker) \gset
select job as unasked from a_job('doing', p_worker => :worker) \gset
select job as others from a_job('asked_to_abort') \gset
select results_eq(
    format('select procrastinate_list_jobs_to_abort_v2(%s) as id order by id', :worker),
    format('values (%s::bigint), (%s)', :a, :b),
    'the jobs that this worker runs and somebody wants aborted'
);
select results_eq(
    format(
        'select procrastinate_list_jobs_to_abort_v2(%s, ''{%s,%s,%s,null,%s}'')',
        :worker, :b, :others, :unasked, :b
    ),
    format('values (%s::bigint)', :b),
    'of those that it names, once each'
);
select is_empty(
    format('select procrastinate_list_jobs_to_abort_v2(%s, ''{}'')', :worker),
    'who names none hears of none'
);
update procrastinate_jobs set status = 'aborted', abort_requested = false where id = :a;
update procrastinate_jobs set status = 'succeeded' where id = :b;
select is_empty(
    format('select procrastinate_list_jobs_to_abort_v2(%s)', :worker),
    'one that has ended, flag or not, is none of them'
);
select is_empty('select procrastinate_list_jobs_to_abort_v2(null)', 'null is no worker');

select * from finish();
rollback;
