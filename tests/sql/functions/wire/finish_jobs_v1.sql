\ir ../../setup.psql
select plan(40);

select a_worker() as worker \gset
create function fixtures.finish(
    p_job bigint, p_claim bigint, p_worker bigint, p_status text default 'succeeded',
    p_delete boolean[] default null
)
returns text
language sql volatile as $$
    select f.outcome || ' ' || coalesce(f.status::text, 'gone')
    from procrastinate_finish_jobs_v1(
        p_worker, array[p_job], array[p_claim],
        array[p_status]::procrastinate_job_status[], p_delete
    ) as f
$$;

-- doing -> each end -----------------------------------------------------------------------------------

select results_eq(
    $$
        select
            e.status, finish(a.job, a.claim, a.worker, e.status), status_of(a.job),
            events_of(a.job)
        from unnest('{succeeded,failed,aborted}'::text[]) as e (status)
        cross join lateral a_job('doing', p_task_name => e.status) as a
    $$,
    $$values
        ('succeeded', 'finished succeeded', 'succeeded', '{deferred,started,succeeded}'::text[]),
        ('failed', 'finished failed', 'failed', '{deferred,started,failed}'),
        ('aborted', 'finished aborted', 'aborted', '{deferred,started,aborted}')
    $$,
    'a job ends as its worker says, with its event'
);
select job, claim, worker from a_job('asked_to_abort') \gset
select finish(:job, :claim, :worker, 'failed') \g /dev/null
select results_eq(
    format($$
        select attempts, abort_requested, worker_id from procrastinate_jobs where id = %s
    $$, :job),
    format('values (1, false, %s::bigint)', :worker),
    'its attempt is counted, the request to abort is done with, its worker stays on record'
);
select is(derived(:job), null, 'and nothing derived is left');

-- A transition happens once (I3), and only by the claim that holds (I10) --------------------------------

select is(
    finish(:job, :claim, :worker), 'not_held failed',
    'a second report changes nothing and hears what the job is'
);
select is(events_of(:job), '{deferred,started,abort_requested,failed}', 'nor does it leave an event');
select job, claim, worker from a_job('doing') \gset
select is(finish(:job, :claim + 1, :worker), 'not_held doing', 'another claim does not hold');
select is(
    finish(:job, :claim, a_worker()), 'not_held doing', 'nor does the claim of another worker'
);
update procrastinate_jobs set status = 'todo' where id = :job;
select is(finish(:job, :claim, :worker), 'not_held todo', 'nor one that was taken back');
update procrastinate_jobs set status = 'doing' where id = :job;
select is(
    finish(:job, :claim, :worker), 'not_held doing',
    'nor an old one of the same worker, when the job was given out again'
);
select is(finish(-1, 1, :worker), 'not_held gone', 'a job that is gone is told as such');

select job, claim, worker from a_job('doing') \gset
delete from procrastinate_workers where id = :worker;
update procrastinate_jobs set worker_id = null where id = :job;
select is(
    finish(:job, :claim, :worker), 'finished succeeded',
    'a worker that was pruned while its job ran may still end it'
);

-- delete --------------------------------------------------------------------------------------------------

select job, claim, worker from a_job('doing') \gset
select is(
    finish(:job, :claim + 1, :worker, 'succeeded', '{true}'), 'not_held doing',
    'a claim that does not hold deletes nothing'
);
select is(
    finish(:job, :claim, :worker, 'succeeded', '{true}'), 'finished gone',
    'one that holds deletes the job'
);
select is(events_of(:job), '{}', 'and its history');
select job, claim, worker from a_job('doing') \gset
select is(
    finish(:job, :claim, :worker, 'succeeded', '{null}'), 'finished succeeded',
    'null does not delete'
);

-- Many at once: each has its own outcome -----------------------------------------------------------------

select job as ends, claim as ends_claim from a_job('doing', p_worker => :worker) \gset
select job as lost, claim as lost_claim from a_job('doing', p_worker => :worker) \gset
select job as gone, claim as gone_claim from a_job('doing', p_worker => :worker) \gset
update procrastinate_jobs set status = 'todo' where id = :lost;
select results_eq(
    format($$
        select job_id, outcome, status::text from procrastinate_finish_jobs_v1(
            %s, array[%s, -7, %s, %s], array[%s, 1, %s, %s],
            '{succeeded,failed,aborted,failed}', '{true,false,false,false}'
        )
    $$, :worker, :gone, :lost, :ends, :gone_claim, :lost_claim, :ends_claim),
    format($$values
        (%s::bigint, 'finished', null), (-7, 'not_held', null),
        (%s, 'not_held', 'todo'), (%s, 'finished', 'failed')
    $$, :gone, :lost, :ends),
    'a report of many has an outcome for each, in the order given'
);
select is_empty(
    format($$
        select procrastinate_finish_jobs_v1(%s, '{}', '{}', '{}', '{}')
        union all select procrastinate_finish_jobs_v1(%s, null, null, null, null)
    $$, :worker, :worker),
    'an empty report has none'
);

-- The next of the lock ---------------------------------------------------------------------------------------

select job, claim, worker from a_job('doing', p_lock => 'l', p_queue_name => 'next') \gset
select job as next from a_job(p_lock => 'l', p_queue_name => 'next') \gset
select is(fetched('{next}'), '{}', 'the lock is held');
select finish(:job, :claim, :worker) \g /dev/null
select is(derived(:next), 'todo:ready', 'a finish promotes the next of the lock');
select is(fetched('{next}'), array[:next]::bigint[], 'which may run');
select is_sound('finishes leave the derived tables true');

-- Refusals, before anything is written ----------------------------------------------------------------------

select job, claim from a_job('doing', p_worker => :worker) \gset
select is(
    outcome_of(format(
        'select procrastinate_finish_jobs_v1(%s)',
        replace(replace(replace(r.arguments, 'W', :'worker'), 'J', :'job'), 'C', :'claim')
    )),
    r.code, r.why
)
from (
    values
        ('W, array[J], array[C], array[null]::procrastinate_job_status[], null', 'PQ003',
            'an end is not null'),
        ('W, array[J], array[C], ''{todo}'', null', 'PQ003', 'todo is no end'),
        ('W, array[J], array[C], ''{doing}'', null', 'PQ003', 'doing is no end'),
        ('W, array[J], array[C], ''{cancelled}'', null', 'PQ003',
            'a job that runs is not cancelled'),
        ('W, array[J], array[C], ''{done}'', null', '22P02', 'an unknown status is none'),
        ('W, array[J], array[]::bigint[], ''{failed}'', null', 'PQ003', 'each job has a claim'),
        ('W, array[J], array[C], ''{failed,failed}'', null', 'PQ003', 'and one status'),
        ('W, array[J], array[C], ''{failed}'', ''{true,true}''', 'PQ003', 'and one fate'),
        ('W, array[null]::bigint[], array[C], ''{failed}'', null', 'PQ003', 'a job has an id'),
        ('W, array[J], array[null]::bigint[], ''{failed}'', null', 'PQ003', 'so has a claim'),
        ('null, array[J], array[C], ''{failed}'', null', 'PQ003', 'and a worker')
) as r (arguments, code, why);
select is(status_of(:job), 'doing', 'whoever is refused has changed nothing');
select is(
    outcome_of(format(
        'select procrastinate_finish_jobs_v1(%s, array[%s, %1$s], array[%s, 1],'
        ' ''{succeeded,todo}'', null)', :worker, :job, :claim
    )),
    'PQ003', 'one bad status refuses the report'
);
select is(status_of(:job), 'doing', 'as a whole');
select is(
    (
        select count(*) from procrastinate_finish_jobs_v1(
            :worker, array[:job, :job], array[:claim, :claim], '{succeeded,succeeded}', null
        )
    ),
    2::bigint, 'a job that is reported twice in one report'
);
select is(events_of(:job), '{deferred,started,succeeded}', 'ends once');

-- What a statement says of itself, that it derives, ends with it -------------------------------------------

create function fixtures.said_after(p_sql text) returns text language plpgsql
set procrastinate.derived = '7' as $$
begin
    execute p_sql;
    return current_setting('procrastinate.derived');
end $$;
set local procrastinate.derived = '';
select job, claim, worker from a_job('doing') \gset
select is(
    said_after(format(
        'select procrastinate_finish_jobs_v1(%s, array[%s], array[%s], ''{succeeded}'', null)',
        :worker, :job, :claim
    )),
    '7', 'what the statement around it had said stands again'
);
select is(status_of(:job), 'succeeded', 'the job has ended');
select is(
    current_setting('procrastinate.derived'), '', 'and nothing outlasts that one, nor its transaction'
);

select * from finish();
rollback;
