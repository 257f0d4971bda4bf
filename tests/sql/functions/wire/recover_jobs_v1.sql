\ir ../../setup.psql
select plan(24);

create function fixtures.recover(p_tasks text[], p_most integer[])
returns text
language sql volatile as $$
    select string_agg(r.job_id || ' ' || r.outcome || ' ' || r.status, ', ')
    from procrastinate_recover_jobs_v1('30 seconds', p_tasks, p_most) as r
$$;

select a_worker('31 s') as silent, a_worker('29 s') as alive \gset
select job as stalled, claim from a_job('doing', p_worker => :silent, p_lock => 'l') \gset
select job as runs from a_job('doing', p_worker => :alive) \gset
select job as waits from a_job() \gset
select task_name as task from procrastinate_jobs where id = :stalled \gset

select is(recover('{}', '{}'), null, 'a task that is not named is left alone');
select is(recover('{another}', '{null}'), null, 'as it is if another one is');
select is(status_of(:stalled), 'doing', 'so that nothing was changed');
select is(
    recover(array['another', :'task'], '{0, null}'), :stalled || ' retried todo',
    'a stalled job of a task with no limit is put back'
);
select results_eq(
    format('select attempts, worker_id from procrastinate_jobs where id = %s', :stalled),
    'select 1, w.id from procrastinate_workers as w where w.last_heartbeat < procrastinate_now() - interval ''30 s''',
    'the attempt counts'
);
select is(derived(:stalled), 'todo:ready', 'it may run at once');
select matches(
    (select e.error from procrastinate_events as e
        where e.job_id = :stalled and e.type = 'deferred_for_retry'),
    'worker was gone', 'its event says why'
);
select is(status_of(:runs), 'doing', 'a job whose worker lives runs on');
select is(recover(array[:'task'], '{null}'), null, 'once');
select results_eq(
    format(
        'select outcome, status::text from procrastinate_finish_jobs_v1(%s, array[%s], array[%s],'
        ' ''{succeeded}'', null)', :silent, :stalled, :claim
    ),
    $$values ('not_held', 'todo')$$,
    'the late finish of a worker that was only slow changes nothing'
);

-- a limit
update procrastinate_jobs set status = 'doing', worker_id = :silent where id = :stalled;
select is(
    recover(array[:'task'], '{2}'), :stalled || ' retried todo', 'a limit that is not reached'
);
update procrastinate_jobs set status = 'doing', worker_id = :silent where id = :stalled;
select is(
    recover(array[:'task'], '{2}'), :stalled || ' failed failed', 'the limit reached: it fails'
);
select results_eq(
    format($$
        select j.attempts, e.error
        from procrastinate_jobs as j join procrastinate_events as e on e.job_id = j.id
        where j.id = %s and e.type = 'failed'
    $$, :stalled),
    $$values (3, 'Its worker was gone or silent')$$,
    'which is an attempt, and its event says why'
);

-- what is in the way (I11)
select job from a_job('asked_to_abort', p_worker => :silent) \gset
select is(
    recover(array[:'task'], '{null}'), :job || ' failed failed',
    'a job that was asked to abort is not run again'
);
select job from a_job('doing', p_worker => :silent, p_queueing_lock => 'taken') \gset
select a_job(p_queueing_lock => 'taken') \g /dev/null
select recover(array[:'task'], '{null}') \g /dev/null
select matches(
    (select error from procrastinate_events where job_id = :job and type = 'failed'), 'taken',
    'nor one whose queueing lock is taken: that stays the reason'
);

select count(a.job) from generate_series(1, 5) as n
cross join lateral a_job('doing', p_worker => :silent, p_priority => n) as a \g /dev/null
select is(
    (select count(*) from procrastinate_recover_jobs_v1('30 s', array[:'task'], '{null}', 2)),
    2::bigint, 'a call recovers so many and no more'
);
select is(
    (select count(*) from procrastinate_recover_jobs_v1(
        '30 s', array[:'task', :'task'], '{null, 0}')),
    3::bigint, 'the next one the rest, each once, however often its task is named'
);
select a_job('doing', p_worker => :silent, p_task_name => 'another') \g /dev/null
select job from a_job('doing', p_worker => :silent) \gset
select is(
    (select r.job_id from procrastinate_recover_jobs_v1('30 s', array[:'task'], '{null}', 1) as r),
    :job::bigint, 'and jobs of tasks that are left take nobody''s place'
);
select job as orphan from a_job('doing') \gset
update procrastinate_jobs set worker_id = null where id = :orphan;
select is(
    recover(array[:'task'], '{0}'), :orphan || ' failed failed',
    'a limit of 0 lets no stalled job run again'
);

-- the borders
select a_worker('30 s') as silent \gset
select job from a_job('doing', p_worker => :silent) \gset
select is(
    recover(array[:'task'], '{null}'), null, 'a heartbeat of just that age is not too old'
);
select is(
    outcome_of('select procrastinate_recover_jobs_v1(''0'', ''{}'', ''{}'')'), 'ok',
    'an age of 0 is one'
);

-- whose reason
select job as other from a_job('failed') \gset
select travel('1 s') \g /dev/null
select recover(array[:'task'], '{null}') \g /dev/null
select results_eq(
    format(
        'select job_id, type::text, error from procrastinate_events'
        ' where job_id in (%s, %s) and error is not null', :job, :other
    ),
    format(
        $$values (%s::bigint, 'deferred_for_retry', 'Its worker was gone or silent')$$, :job
    ),
    'the reason stands in the event of this end and in no other'
);
select is_sound('recovery leaves the derived tables true');

select results_eq(
    $$
        select outcome_of(format('select procrastinate_recover_jobs_v1(%s)', a))
        from unnest(array[
            'null, ''{}'', ''{}''', '''-1 s'', ''{}'', ''{}''', '''1 s'', ''{}'', ''{}'', 0',
            '''1 s'', ''{}'', ''{}'', null', '''1 s'', ''{a}'', ''{}''', '''1 s'', null, ''{}''',
            '''1 s'', ''{null}'', ''{1}'''
        ]) as a
        group by 1
    $$,
    $$values ('PQ003')$$,
    'an age, a number of jobs, and for each task a name and a limit: no less'
);

select * from finish();
rollback;
