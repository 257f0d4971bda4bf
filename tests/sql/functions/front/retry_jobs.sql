\ir ../../setup.psql
select plan(27);

create function fixtures.failed(p_queue text default 'q', p_queueing_lock text default null)
returns bigint language sql as
$$select a.job from a_job('failed', p_queue_name => p_queue, p_queueing_lock => p_queueing_lock) as a$$;

select failed('one') as a, failed('one') as b, failed('other') as c \gset
select results_eq(
    $$select job_id, outcome from procrastinate_retry_jobs('one')$$,
    format($$values (%s::bigint, 'retried'), (%s, 'retried')$$, :a, :b),
    'the failed jobs of a queue are retried'
);
select is(status_of(:c), 'failed', 'those of another are left');
select is(events_of(:a), '{deferred,started,failed,scheduled,retried}', 'as by one retry each');
select is(
    (select attempts from procrastinate_jobs where id = :a), 2, 'an attempt more is counted'
);
select is_empty($$select procrastinate_retry_jobs('one')$$, 'once');
select results_eq(
    $$select job_id, outcome from procrastinate_retry_jobs('other', dry_run => true)$$,
    format($$values (%s::bigint, 'matched')$$, :c),
    'a dry run tells what would be'
);
select is(status_of(:c), 'failed', 'and does nothing');

-- One refusal does not roll back the others
select failed('locks') as a, failed('locks', 'taken') as b, failed('locks', 'twice') as c \gset
select failed('locks', 'twice') as d, failed('locks', 'free') as e \gset
select a_job(p_queue_name => 'waits', p_queueing_lock => 'taken') \g /dev/null
select results_eq(
    $$select job_id, outcome from procrastinate_retry_jobs('locks')$$,
    format(
        $$values (%s::bigint, 'retried'), (%s, 'queueing_lock_taken'), (%s, 'retried'),
            (%s, 'queueing_lock_taken'), (%s, 'retried')$$, :a, :b, :c, :d, :e
    ),
    'a job whose queueing lock is taken is reported and left'
);
select is(
    array[status_of(:b), status_of(:d)], '{failed,failed}', 'failed, with the history it had'
);
select is(events_of(:b), '{deferred,started,failed}', 'that no retry is part of');

-- Batches
select count(failed('batch')) from generate_series(1, 5) \g /dev/null
select max(job_id) as last from procrastinate_retry_jobs('batch', max_jobs => 2) \gset
select is(
    (select count(*) from procrastinate_jobs where queue_name = 'batch' and status = 'todo'),
    2::bigint, 'a call retries so many and no more'
);
select is(
    (select min(job_id) > :last from procrastinate_retry_jobs('batch', after_id => :last)), true,
    'the next one goes on from there'
);
select is(
    (select count(*) from procrastinate_jobs where queue_name = 'batch' and status = 'todo'),
    5::bigint, 'to the end'
);

select failed('later') as a \gset
select procrastinate_retry_jobs('later', retry_at => '2999-01-01Z') \g /dev/null
select is(derived(:a), 'todo:delayed', 'a retry may be for later');

-- Jobs of workers that are lost
select job as held from a_job('doing', p_queue_name => 'doing') \gset
select job as asked from a_job('asked_to_abort', p_queue_name => 'doing') \gset
select job as taken from a_job('doing', p_queue_name => 'doing', p_queueing_lock => 'doing') \gset
select a_job(p_queueing_lock => 'doing') \g /dev/null
select is_empty($$select procrastinate_retry_jobs('doing')$$, 'a running job is left alone');
select results_eq(
    $$select job_id, outcome from procrastinate_retry_jobs('doing', status => 'doing')$$,
    format(
        $$values (%s::bigint, 'retried'), (%s, 'failed'), (%s, 'failed')$$, :held, :asked, :taken
    ),
    'unless that is asked for; one that cannot wait, or was to abort, fails'
);

select failed('ids') as a, failed('ids') as b \gset
select results_eq(
    format($$select job_id from procrastinate_retry_jobs(job_ids => array[%s, 0])$$, :b),
    format('values (%s::bigint)', :b),
    'ids may be given'
);
select is_empty(
    $$select procrastinate_retry_jobs(job_ids => '{}')$$, 'no ids are no jobs, and not all'
);
select procrastinate_retry_jobs(all_jobs => true) \g /dev/null
select is(
    (select count(*) from procrastinate_jobs where status = 'failed'
        and queueing_lock is null and id <> :asked), 0::bigint,
    'all may be asked for'
);

select is(
    outcome_of(format('select procrastinate_retry_jobs(%s)', r.arguments)), 'PQ003', r.why
)
from (
    values
        ('', 'without a filter nothing is retried'),
        ('status => ''failed''', 'a status is no filter'),
        ('''q'', status => ''succeeded''', 'what has succeeded is not retried'),
        ('''q'', status => ''todo''', 'nor what waits'),
        ('''q'', max_jobs => 0', 'a number of jobs is needed'),
        ('''q'', max_jobs => null', 'that is not null'),
        ('''q'', after_id => null', 'and where to begin')
) as r (arguments, why);
select is_sound('many retries leave the derived tables true');

select * from finish();
rollback;
