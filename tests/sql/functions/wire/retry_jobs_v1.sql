\ir ../../setup.psql
select plan(40);

create function fixtures.retry(
    p_job bigint, p_claim bigint, p_worker bigint, p_at timestamptz default null,
    p_priority integer default null, p_queue text default null, p_lock text default null
)
returns text
language sql volatile as $$
    select r.outcome || ' ' || coalesce(r.status::text, 'gone')
    from procrastinate_retry_jobs_v1(
        p_worker, array[p_job], array[p_claim], array[p_at], array[p_priority],
        array[p_queue], array[p_lock]
    ) as r
$$;

-- doing -> todo -------------------------------------------------------------------------------------------

select job, claim, worker from a_job(
    'doing', p_lock => 'l', p_priority => 3, p_queueing_lock => 'ql'
) \gset
select is(retry(:job, :claim, :worker, '2999-01-01Z'), 'retried todo', 'a run is to be repeated');
select results_eq(
    format($$
        select attempts, scheduled_at, priority, queue_name::text, lock, worker_id
        from procrastinate_jobs where id = %s
    $$, :job),
    format($$values (1, '2999-01-01Z'::timestamptz, 3, 'q', 'l', %s::bigint)$$, :worker),
    'its attempt is counted; what was not given stays'
);
select is(derived(:job), 'todo:delayed', 'it waits until then');
select is(
    events_of(:job), '{deferred,started,scheduled,deferred_for_retry}', 'with the events of 3.x'
);
select is(
    retry(:job, :claim, :worker), 'not_held todo', 'a second report changes nothing'
);

select job, claim, worker from a_job('doing', p_lock => 'l2') \gset
select is(
    retry(:job, :claim, :worker, null, 9, 'another queue', 'another lock'), 'retried todo',
    'priority, queue and lock may change with it'
);
select results_eq(
    format($$
        select priority, queue_name::text, lock, scheduled_at <= procrastinate_now()
        from procrastinate_jobs where id = %s
    $$, :job),
    $$values (9, 'another queue', 'another lock', true)$$,
    'no time given: at once'
);
select is(derived(:job), 'todo:ready', 'it may run');
select is(fetched('{another queue}'), array[:job]::bigint[], 'and is fetched from its new queue');

select job, claim, worker from a_job('doing') \gset
select job as other, claim as other_claim from a_job('doing', p_worker => :worker) \gset
select procrastinate_retry_jobs_v1(
    :worker, array[:job, :other], array[:claim, :other_claim],
    array[null, '2999-01-01Z'::timestamptz], '{}', '{}', '{}', '{1 min,1 min}'
) \g /dev/null
select is(
    (select scheduled_at from procrastinate_jobs where id = :job),
    procrastinate_now() + interval '1 min', 'a delay counts from now, by this clock'
);
select is(
    (select scheduled_at from procrastinate_jobs where id = :other),
    '2999-01-01Z'::timestamptz, 'a time is more than a delay'
);

-- Who holds (I10) -----------------------------------------------------------------------------------------

select job, claim, worker from a_job('doing') \gset
select is(retry(:job, :claim + 1, :worker), 'not_held doing', 'another claim does not hold');
select is(retry(:job, :claim, a_worker()), 'not_held doing', 'nor does another worker');
select is(retry(-1, :claim, :worker), 'not_held gone', 'a job that is gone is told as such');
update procrastinate_jobs set status = 'succeeded' where id = :job;
select is(retry(:job, :claim, :worker), 'not_held succeeded', 'nor is one that has ended retried');

-- Ends as failed instead (I11) -------------------------------------------------------------------------

select job, claim, worker from a_job('asked_to_abort') \gset
select is(
    retry(:job, :claim, :worker), 'failed failed', 'a job asked to abort is not retried'
);
select is(
    (select attempts from procrastinate_jobs where id = :job), 0, 'its attempts are unchanged'
);
select is(events_of(:job), '{deferred,started,abort_requested,failed}', 'it has failed');

select job, claim, worker from a_job('doing', p_queueing_lock => 'taken', p_lock => 'tl') \gset
select job as waiting from a_job(p_queueing_lock => 'taken') \gset
select is(
    retry(:job, :claim, :worker), 'failed failed',
    'a job whose queueing lock was taken meanwhile fails'
);
select matches(
    (
        select e.error from procrastinate_events as e
        where e.job_id = :job and e.type = 'failed'
    ),
    'taken', 'and its event says why'
);
select is((select attempts from procrastinate_jobs where id = :job), 1, 'its attempt counts');
select is(derived(:waiting), 'todo:ready', 'the job that waits is not touched');
select is(derived(:job), null, 'nor is anything left in doing');

-- Many at once: one refusal does not roll back the others ------------------------------------------------------

select a_worker() as worker \gset
select job as a, claim as ca from a_job('doing', p_worker => :worker) \gset
select job as b, claim as cb from a_job('doing', p_worker => :worker, p_queueing_lock => 'two')
\gset
select job as c, claim as cc from a_job('doing', p_worker => :worker) \gset
select a_job(p_queueing_lock => 'two') \g /dev/null
select results_eq(
    format($$
        select job_id, outcome, status::text from procrastinate_retry_jobs_v1(
            %s, array[%s, %s, -1, %s], array[%s, %s, 1, %s],
            array[null, null, null, '2999-01-01Z']::timestamptz[], '{null,null,null,5}',
            '{null,null,null,null}', '{null,null,null,null}'
        ) order by job_id
    $$, :worker, :a, :b, :c, :ca, :cb, :cc),
    format($$values
        (-1::bigint, 'not_held', null), (%s, 'retried', 'todo'), (%s, 'failed', 'failed'),
        (%s, 'retried', 'todo')
    $$, :a, :b, :c),
    'a report of many has an outcome for each'
);
select is(
    (select priority from procrastinate_jobs where id = :c), 5, 'and each has its own arguments'
);
select is_empty(
    format(
        $$select procrastinate_retry_jobs_v1(%s, '{}', '{}', '{}', '{}', '{}', '{}')
        union all
        select procrastinate_retry_jobs_v1(%1$s, null, null, null, null, null, null)$$, :worker
    ),
    'an empty report has none'
);

select job as a, claim as ca from a_job('doing', p_worker => :worker) \gset
select job as b, claim as cb from a_job('doing', p_worker => :worker) \gset
select results_eq(
    format($$
        select job_id from procrastinate_retry_jobs_v1(
            %s, array[%s, %s], array[%s, %s], null, '{1,2,3}', '{}', null
        )
    $$, :worker, :b, :a, :cb, :ca),
    array[:a, :b]::bigint[],
    'in the order of their ids, and what other arrays have too much or too little is no job'
);

-- Locks: the head of the lock -------------------------------------------------------------------------------

select job, claim, worker from a_job('doing', p_queue_name => 'head', p_lock => 'head') \gset
select job as next from a_job(p_queue_name => 'head', p_lock => 'head') \gset
select is(fetched('{head}'), '{}', 'the lock is held');
select retry(:job, :claim, :worker, '2999-01-01Z') \g /dev/null
select is(
    fetched('{head}'), '{}', 'a retried job is the head of its lock again, however late it is due'
);
select job, claim, worker from a_job('doing', p_queue_name => 'tail', p_lock => 'tail') \gset
select job as next from a_job(p_queue_name => 'tail', p_lock => 'tail') \gset
select is(fetched('{tail}'), '{}', 'the lock is held');
select retry(:job, :claim, :worker, '2999-01-01Z', -1) \g /dev/null
select is(
    fetched('{tail}'), array[:next]::bigint[], 'unless its new priority puts it behind'
);
select is_sound('retries leave the derived tables true');

-- Refusals, before anything is written ----------------------------------------------------------------------

select job, claim, worker from a_job('doing') \gset
select is(
    outcome_of(format(
        'select procrastinate_retry_jobs_v1(%s)',
        replace(replace(replace(r.arguments, 'W', :'worker'), 'J', :'job'), 'C', :'claim')
    )),
    r.code, r.why
)
from (
    values
        ('null, array[J], array[C], null, null, null, null', 'PQ003', 'a worker has an id'),
        ('W, array[J], null, null, null, null, null', 'PQ003', 'a job has a claim'),
        ('W, array[null]::bigint[], array[C], null, null, null, null', 'PQ003', 'and an id'),
        ('W, array[J], array[C], null, null, array[repeat(''q'', 129)], null', 'PQ003',
            'a queue name has at most 128 characters'),
        ('W, array[J], array[C], null, null, array[''''], null', 'PQ003', 'and at least one')
) as r (arguments, code, why);
select is(status_of(:job), 'doing', 'whoever is refused has changed nothing');
select is(
    outcome_of(format(
        'select procrastinate_retry_jobs_v1(%s, array[%s], array[%s], null, null, null, null)',
        :worker, :job, :claim
    )),
    'ok', 'nulls instead of arrays keep what there is'
);
select is(status_of(:job), 'todo', 'and retry at once');

select * from finish();
rollback;
