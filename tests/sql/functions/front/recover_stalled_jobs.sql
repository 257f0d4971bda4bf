\ir ../../setup.psql
select plan(22);

select a_worker('31 s') as silent, a_worker('29 s') as alive \gset
select job as orphan, claim from a_job('doing', p_lock => 'l') \gset
update procrastinate_jobs set worker_id = null where id = :orphan;
select job as stalled, claim as stalled_claim from a_job('doing', p_worker => :silent) \gset
select job as runs from a_job('doing', p_worker => :alive) \gset
select job as waits from a_job() \gset
select set_eq(
    'select procrastinate_recover_stalled_jobs()',
    format('values (%s::bigint), (%s)', :orphan, :stalled),
    'jobs of workers that are gone or silent are given back'
);
select results_eq(
    format($$select id, status::text, attempts from procrastinate_jobs
        where id in (%s, %s, %s) order by id$$, :orphan, :stalled, :runs),
    format($$values (%s::bigint, 'todo', 1), (%s, 'todo', 1), (%s, 'doing', 0)$$,
        :orphan, :stalled, :runs),
    'their attempt counts; those of others run on'
);
select is(
    events_of(:stalled), '{deferred,started,deferred_for_retry}', 'their history shows it'
);
select is_empty('select procrastinate_recover_stalled_jobs()', 'once');
select results_eq(
    format(
        'select outcome, status::text from procrastinate_finish_jobs_v1(%s, array[%s], array[%s],'
        ' ''{succeeded}'', null)', :silent, :stalled, :stalled_claim
    ),
    $$values ('not_held', 'todo')$$,
    'the late finish of a worker that was only slow changes nothing'
);
select is(fetched(null, 1) <> '{}', true, 'another worker gets them');
update procrastinate_jobs set status = 'doing', worker_id = :silent
where id = :stalled and status = 'todo';
select results_eq(
    format(
        'select outcome, status::text from procrastinate_finish_jobs_v1(%s, array[%s], array[%s],'
        ' ''{succeeded}'', null)', :silent, :stalled, :stalled_claim
    ),
    $$values ('not_held', 'doing')$$,
    'not even when the same worker was given the job again'
);

select job from a_job('asked_to_abort', p_worker => :silent) \gset
select is(
    :job in (select procrastinate_recover_stalled_jobs()), true,
    'a stalled job that was asked to abort'
);
select is(status_of(:job), 'failed', 'fails: nobody is left to abort it, and it is not run again');
select job from a_job('doing', p_worker => :silent, p_queueing_lock => 'taken') \gset
select a_job(p_queueing_lock => 'taken') \g /dev/null
select procrastinate_recover_stalled_jobs() \g /dev/null
select is(
    status_of(:job), 'failed', 'as does one whose queueing lock is taken: it cannot wait'
);
select matches(
    (select error from procrastinate_events where job_id = :job and type = 'failed'), 'taken',
    'its event says why'
);

select count(a.job) from generate_series(1, 5) as n
cross join lateral a_job('doing', p_worker => :silent, p_priority => n) as a \g /dev/null
select is(
    (select count(*) from procrastinate_recover_stalled_jobs(max_jobs => 2)), 2::bigint,
    'a call gives back so many and no more'
);
select is(
    (select count(*) from procrastinate_recover_stalled_jobs()), 3::bigint, 'the next one the rest'
);
select job from a_job('doing', p_worker => :alive) \gset
select travel('1 min') \g /dev/null
update procrastinate_workers set last_heartbeat = procrastinate_now() - interval '2 min'
where id = :alive;
select is(
    :job in (select procrastinate_recover_stalled_jobs('2 min')), false,
    'age is told by the clock of the queue'
);
select is(:job in (select procrastinate_recover_stalled_jobs('1 min')), true, 'both ways');
select is(
    outcome_of(format('select procrastinate_recover_stalled_jobs(%s)', a)), 'PQ003',
    format('(%s) is refused', a)
)
from unnest(array['null', '''-1 s''', '''1 s'', 0', '''1 s'', null']) as a;

-- The lock of a job that was given back
select job as orphan from a_job('doing', p_queue_name => 'lock', p_lock => 'order') \gset
update procrastinate_jobs set worker_id = null where id = :orphan;
select job as next from a_job(p_queue_name => 'lock', p_lock => 'order') \gset
select is(fetched('{lock}'), '{}', 'a stalled job holds its lock');
select procrastinate_recover_stalled_jobs() \g /dev/null
select is(fetched('{lock}'), array[:orphan]::bigint[], 'and has it first when it is given back');
select is_sound('recovery leaves the derived tables true');

select * from finish();
rollback;
