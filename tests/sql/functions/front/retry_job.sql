\ir ../../setup.psql
select plan(28);

select job from a_job('failed', p_priority => 2, p_lock => 'l') \gset
select is(procrastinate_retry_job(:job), true, 'a failed job is retried');
select results_eq(
    format($$
        select status::text, attempts, priority, queue_name::text, lock,
            scheduled_at <= procrastinate_now()
        from procrastinate_jobs where id = %s
    $$, :job),
    $$values ('todo', 2, 2, 'q', 'l', true)$$,
    'at once; that is an attempt more; what was not given stays'
);
select is(
    events_of(:job), '{deferred,started,failed,scheduled,retried}', 'with the events of 3.x'
);
select is(fetched('{q}'), array[:job]::bigint[], 'a worker gets it');

select job from a_job('failed') \gset
select is(
    procrastinate_retry_job(
        :job, retry_at => '2999-01-01Z', priority => 7, queue_name => 'r', lock => 'rl'
    ),
    true, 'schedule, priority, queue and lock may be given'
);
select results_eq(
    format($$
        select scheduled_at, priority, queue_name::text, lock
        from procrastinate_jobs where id = %s
    $$, :job),
    $$values ('2999-01-01Z'::timestamptz, 7, 'r', 'rl')$$, 'and are taken'
);
select is(derived(:job), 'todo:delayed', 'the job waits until then');

select job from a_job('doing', p_lock => 'dl') \gset
select is(procrastinate_retry_job(:job), true, 'a running job, whose worker is lost, is retried');
select is(
    events_of(:job), '{deferred,started,scheduled,deferred_for_retry}', 'as one that was to be'
);
select is((select attempts from procrastinate_jobs where id = :job), 1, 'its attempt counts');
select job from a_job('asked_to_abort') \gset
select is(
    procrastinate_retry_job(:job), true, 'one that was asked to abort'
);
select is(status_of(:job), 'failed', 'fails instead');
select is((select attempts from procrastinate_jobs where id = :job), 0, 'attempts unchanged');

-- false, and errors ---------------------------------------------------------------------------------------

select is(procrastinate_retry_job(a.job), false, s || ' is not retried')
from unnest('{todo,succeeded,cancelled,aborted}'::text[]) as s
cross join lateral a_job(s) as a;
select is(outcome_of('select procrastinate_retry_job(-1)'), 'PQ002', 'an unknown job is an error');
select is(outcome_of('select procrastinate_retry_job(null)'), 'PQ002', 'as is null');
select matches(error_of('select procrastinate_retry_job(-1)'), '-1', 'that names it');

select job from a_job('failed', p_queueing_lock => 'taken') \gset
select a_job(p_queueing_lock => 'taken') \g /dev/null
select is(
    error_of(format('select procrastinate_retry_job(%s)', :job), 'constraint'),
    'procrastinate_jobs_queueing_lock_idx_v1',
    'a failed job whose queueing lock is taken is not retried'
);
select is(status_of(:job), 'failed', 'it stays failed');
select job from a_job('doing', p_queueing_lock => 'taken too') \gset
select a_job(p_queueing_lock => 'taken too') \g /dev/null
select outcome_of(format('select procrastinate_retry_job(%s)', :job)) \g /dev/null
select is(
    status_of(:job), 'failed', 'a running one is not left in doing because of that: it fails'
);
select is(
    outcome_of(format('select procrastinate_retry_job(%s, queue_name => %L)', a.job, q.name)),
    'PQ003', 'a queue name has 1 to 128 characters'
)
from (values (''), (repeat('q', 129))) as q (name)
cross join lateral a_job('failed', p_task_name => left(q.name, 9)) as a;

-- The lock ------------------------------------------------------------------------------------------------

select job from a_job('failed', p_queue_name => 'lock', p_lock => 'order') \gset
select job as holder from a_job('doing', p_queue_name => 'lock', p_lock => 'order') \gset
select procrastinate_retry_job(:job) \g /dev/null
select is(fetched('{lock}'), '{}', 'a retried job waits for its lock');
update procrastinate_jobs set status = 'succeeded' where id = :holder;
select is(fetched('{lock}'), array[:job]::bigint[], 'and gets it');
select is_sound('retries leave the derived tables true');

select * from finish();
rollback;
