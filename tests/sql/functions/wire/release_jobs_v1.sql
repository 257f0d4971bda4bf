\ir ../../setup.psql
select plan(24);

create function fixtures.release(p_job bigint, p_claim bigint, p_worker bigint)
returns text
language sql volatile as $$
    select r.outcome || ' ' || coalesce(r.status::text, 'gone')
    from procrastinate_release_jobs_v1(p_worker, array[p_job], array[p_claim]) as r
$$;

select job, claim, worker from a_job('doing', p_lock => 'l', p_priority => 2) \gset
select is(release(:job, :claim, :worker), 'released todo', 'a worker gives a job back');
select results_eq(
    format('select attempts, scheduled_at, priority from procrastinate_jobs where id = %s', :job),
    'values (0, null::timestamptz, 2)', 'no attempt is counted, nothing else changes'
);
select is(derived(:job), 'todo:ready', 'it may run at once');
select is(events_of(:job), '{deferred,started,deferred_for_retry}', 'its history shows it');
select is(release(:job, :claim, :worker), 'not_held todo', 'once');
select is(fetched('{q}'), array[:job]::bigint[], 'another worker gets it');
select is(release(:job, :claim, :worker), 'not_held doing', 'whose claim the first cannot end');

select job, claim, worker from a_job('doing') \gset
select is(release(:job, :claim + 1, :worker), 'not_held doing', 'another claim does not hold');
select is(release(:job, :claim, a_worker()), 'not_held doing', 'nor does another worker');
select is(release(-1, :claim, :worker), 'not_held gone', 'a job that is gone is told as such');

-- what is in the way does not leave it in doing (I11)
select job, claim, worker from a_job('doing', p_queueing_lock => 'taken') \gset
select a_job(p_queueing_lock => 'taken') \g /dev/null
select release(:job, :claim, :worker) \g /dev/null
select is(
    status_of(:job), 'failed', 'a job whose queueing lock was taken meanwhile cannot wait: it fails'
);
select matches(
    (select e.error from procrastinate_events as e where e.job_id = :job and e.type = 'failed'),
    'taken', 'and its event says why'
);

select job, claim, worker from a_job('asked_to_abort') \gset
select release(:job, :claim, :worker) \g /dev/null
select is(status_of(:job), 'failed', 'a job asked to abort does not wait again either');

select job, claim, worker from a_job('doing', p_queue_name => 'lock', p_lock => 'order') \gset
select job as next from a_job(p_queue_name => 'lock', p_lock => 'order') \gset
select is(fetched('{lock}'), '{}', 'the lock is held');
select release(:job, :claim, :worker) \g /dev/null
select is(
    fetched('{lock}'), array[:job]::bigint[], 'a job that was given back is the head of its lock'
);

select a_worker() as worker \gset
select job as a, claim as ca from a_job('doing', p_worker => :worker) \gset
select job as b, claim as cb from a_job('doing', p_worker => :worker) \gset
select results_eq(
    format($$
        select job_id, outcome, status::text
        from procrastinate_release_jobs_v1(%s, array[%s, -1, %s], array[%s, 1, %s])
        order by job_id
    $$, :worker, :b, :a, :cb, :ca),
    format($$values
        (-1::bigint, 'not_held', null), (%s, 'released', 'todo'), (%s, 'released', 'todo')
    $$, :a, :b),
    'many at once have an outcome each'
);
select is_empty(
    format($$select procrastinate_release_jobs_v1(%s, '{}', '{}')$$, :worker),
    'none, none'
);

select job as b, claim as cb from a_job('doing', p_worker => :worker) \gset
select job as c, claim as cc from a_job('asked_to_abort', p_worker => :worker) \gset
select results_eq(
    format(
        'select job_id, outcome, status::text'
        ' from procrastinate_release_jobs_v1(%s, array[%s, %s], array[%s, %s])',
        :worker, :c, :b, :cc, :cb
    ),
    format($$values (%s::bigint, 'released', 'todo'), (%s, 'failed', 'failed')$$, :b, :c),
    'in the order of their ids, whatever the order given, and each is told what became of it'
);
select is_sound('releases leave the derived tables true');

select is_empty(
    format('select procrastinate_release_jobs_v1(%s, null, null)', :worker), 'null is none'
);
select job, claim, worker from a_job('doing') \gset
select is(
    outcome_of(format('select procrastinate_release_jobs_v1(%s)',
        replace(replace(replace(r.arguments, 'W', :'worker'), 'J', :'job'), 'C', :'claim'))),
    'PQ003', r.why
)
from (
    values
        ('null, array[J], array[C]', 'a worker has an id'),
        ('W, array[J], ''{}''', 'a job has a claim'),
        ('W, array[J], array[null]::bigint[]', 'that is not null'),
        ('W, array[null]::bigint[], array[C]', 'and an id')
) as r (arguments, why);

select * from finish();
rollback;
