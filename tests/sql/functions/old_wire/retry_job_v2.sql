\ir ../../setup.psql
select plan(20);

select job from a_job('doing', p_priority => 2, p_lock => 'l') \gset
select procrastinate_retry_job_v2(:job, '2999-01-01Z', null, null, null) \g /dev/null
select results_eq(
    format($$
        select status::text, attempts, scheduled_at, priority, queue_name::text, lock
        from procrastinate_jobs where id = %s
    $$, :job),
    $$values ('todo', 1, '2999-01-01Z'::timestamptz, 2, 'q', 'l')$$,
    'a run is to be repeated, then; null keeps'
);
select is(
    events_of(:job), '{deferred,started,scheduled,deferred_for_retry}', 'with its events'
);
select job from a_job('doing') \gset
select procrastinate_retry_job_v2(
    job_id => :job, retry_at => '2999-01-01Z', new_priority => 3, new_queue_name => 'r',
    new_lock => 'rl'
) \g /dev/null
select results_eq(
    format('select priority, queue_name::text, lock from procrastinate_jobs where id = %s', :job),
    $$values (3, 'r', 'rl')$$, 'priority, queue and lock may be given'
);
select job from a_job('doing', p_scheduled_at => '2001-01-01Z') \gset
select procrastinate_retry_job_v2(:job, null, null, null, null) \g /dev/null
select results_eq(
    format('select status::text, scheduled_at from procrastinate_jobs where id = %s', :job),
    $$values ('todo', null::timestamptz)$$, 'no time: at once'
);
select is(
    events_of(:job), '{scheduled,deferred,started,deferred_for_retry}', 'and no event of one'
);

select job from a_job('asked_to_abort') \gset
select lives_ok(
    format('select procrastinate_retry_job_v2(%s, null, null, null, null)', :job),
    'a job that was asked to abort'
);
select results_eq(
    format($$select status::text, attempts, abort_requested
        from procrastinate_jobs where id = %s$$, :job),
    $$values ('failed', 0, true)$$, 'fails instead, its attempts and the request unchanged'
);

-- what is in the way does not leave it in doing (I11): on its own schema this retry raises
select job from a_job('doing', p_queueing_lock => 'taken') \gset
select a_job(p_queueing_lock => 'taken') \g /dev/null
select lives_ok(
    format('select procrastinate_retry_job_v2(%s, null, null, null, null)', :job),
    'a running job whose queueing lock is taken'
);
select is(status_of(:job), 'failed', 'fails instead');
select matches(
    (select error from procrastinate_events where job_id = :job and type = 'failed'), 'taken',
    'and its event says why'
);

-- refusals, with the texts of 3.x
select is(
    outcome_of(format('select procrastinate_retry_job_v2(%s, null, null, null, null)', a.job)),
    'P0001', s || ' is not retried'
)
from unnest('{todo,succeeded,cancelled,aborted}'::text[]) as s
cross join lateral a_job(s) as a;
select is(
    error_of('select procrastinate_retry_job_v2(-1, null, null, null, null)'),
    'Job was not found or has an invalid status to retry (job id: -1)',
    'nor one that is not there'
);

-- failed -> todo
select job from a_job('failed') \gset
select procrastinate_retry_job_v2(:job, '2999-01-01Z', 3, 'r', 'rl') \g /dev/null
select results_eq(
    format($$
        select status::text, attempts, scheduled_at, priority, queue_name::text, lock
        from procrastinate_jobs where id = %s
    $$, :job),
    $$values ('todo', 2, '2999-01-01Z'::timestamptz, 3, 'r', 'rl')$$, 'a failed job is retried'
);
select is(events_of(:job), '{deferred,started,failed,scheduled,retried}', 'with its events');
select job from a_job('failed', p_queueing_lock => 'taken as well') \gset
select a_job(p_queueing_lock => 'taken as well') \g /dev/null
select is(
    error_of(
        format('select procrastinate_retry_job_v2(%s, null, null, null, null)', :job), 'constraint'
    ),
    'procrastinate_jobs_queueing_lock_idx_v1',
    'a failed job whose queueing lock is taken is refused'
);
select is(status_of(:job), 'failed', 'and stays failed');
select is_sound();

select * from finish();
rollback;
