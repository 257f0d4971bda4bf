\ir ../../setup.psql
select plan(31);

select is(procrastinate_repair(), 0::bigint, 'where nothing is wrong nothing is repaired');

-- One of each, then damage that no trigger sees -----------------------------------------------------------

create function fixtures.repaired(p_damage text) returns text language plpgsql as $$
declare v_found bigint; v_left bigint;
begin
    set local session_replication_role = replica;
    execute p_damage;
    set local session_replication_role = origin;
    v_found := procrastinate_repair();
    select count(*) into v_left
    from (select from procrastinate_check() union all select from breaches()) as x;
    return case when v_found = 0 then 'nothing found' when v_left > 0 then v_left || ' left'
        else 'repaired' end;
end $$;

select job as ready from a_job(p_lock => 'l', p_priority => 3) \gset
select job as next from a_job(p_lock => 'l') \gset
select job as runs, claim from a_job('doing', p_lock => 'm') \gset
select job as behind from a_job(p_lock => 'm') \gset
select job as free, claim as free_claim, worker from a_job('doing') \gset
select job as delayed from a_job(p_scheduled_at => '2999-01-01Z', p_queueing_lock => 'ql') \gset

select is(repaired(d.damage), 'repaired', d.why)
from (
    values
        ('delete from procrastinate_todo', 'todo was lost'),
        ('delete from procrastinate_doing', 'doing was lost'),
        ('delete from procrastinate_todo; delete from procrastinate_doing', 'both were lost'),
        ('delete from procrastinate_priorities', 'what fetches look at was lost'),
        ('update procrastinate_todo set state = ''b''', 'all is blocked'),
        ('update procrastinate_todo set priority = priority + 1', 'priorities differ'),
        ('update procrastinate_todo set lock = ''x'' where lock is null', 'locks differ'),
        ('update procrastinate_doing set lock = null', 'locks of running jobs differ'),
        ('update procrastinate_doing set worker_id = null', 'workers differ'),
        ('insert into procrastinate_jobs (queue_name, task_name, lock) values
            (''copied'', ''t'', ''l''), (''copied'', ''t'', ''m''), (''copied'', ''t'', null)',
            'jobs were copied in'),
        ('delete from procrastinate_jobs where queue_name = ''copied''', 'jobs were taken out'),
        ('insert into procrastinate_events (job_id) values (-5)', 'a history has no job'),
        ('insert into procrastinate_results (job_id) values (-5)', 'a result has no job')
) as d (damage, why);
select is(
    array[derived(:ready), derived(:runs), derived(:free), derived(:delayed)],
    '{todo:ready,doing,doing,todo:delayed}', 'each job is where it was'
);
select is(fetched('{q}', 1), array[:ready]::bigint[], 'and the queue works on');
select is(procrastinate_repair(), 0::bigint, 'a second repair finds nothing');

-- A restore of data in which two jobs run under one lock, or two wait with one queueing lock
select is(
    repaired($$
        insert into procrastinate_jobs (queue_name, task_name, lock, status)
        values ('two', 't', 'two', 'doing'), ('two', 't', 'two', 'doing')
    $$),
    'repaired', 'of two jobs that run under one lock'
);
select set_eq(
    $$select status::text from procrastinate_jobs where queue_name = 'two'$$,
    $$values ('doing'), ('todo')$$, 'one waits again'
);
select isnt(
    repaired($$
        insert into procrastinate_jobs (queue_name, task_name, queueing_lock)
        values ('three', 't', 'three'), ('three', 't', 'three')
    $$),
    'nothing found', 'of two jobs that wait with one queueing lock'
);
select is(
    (
        select count(*) from procrastinate_jobs
        where queue_name = 'three' and status = 'todo'
    ),
    1::bigint, 'one waits on'
);
select results_eq(
    $$
        select j.status::text, e.type::text, e.error ~ 'queueing lock'
        from procrastinate_jobs as j
        left join procrastinate_events as e on e.job_id = j.id
        where j.queue_name = 'three' order by j.id
    $$,
    $$values ('todo', null::text, null::boolean), ('cancelled', 'cancelled', true)$$,
    'the first of them; the event of the other says why it was cancelled'
);
select is(
    (select count(*) from procrastinate_events where error is not null), 1::bigint,
    'no other event is given a reason'
);

-- Two that were deferred here, so that the second has a history, and one that runs with its lock
select job as runs_too from a_job('doing', p_queueing_lock => 'four') \gset
select job as old from a_job(p_queueing_lock => 'four') \gset
select job as new from a_job() \gset
select is(
    repaired(format($$
        delete from procrastinate_todo where job_id = %s;
        update procrastinate_jobs set queueing_lock = 'four' where id = %1$s
    $$, :new)),
    'repaired', 'a running job may have the queueing lock of one that waits'
);
select is(
    array[status_of(:old), status_of(:new), status_of(:runs_too)], '{todo,cancelled,doing}',
    'the first of those that wait is kept'
);
select results_eq(
    format('select type::text, error is null from procrastinate_events where job_id = %s order by id',
        :new),
    $$values ('deferred', true), ('cancelled', false)$$,
    'and the last event alone has the reason'
);

-- Who holds a lock: the first that was claimed, though its id be higher
select job as unclaimed from a_job('asked_to_abort') \gset
select job as second from a_job('doing') \gset
select job as first from a_job('doing') \gset
update procrastinate_doing set claim_id = claim_id + 1000 where job_id = :second;
select is(
    repaired(format($$
        delete from procrastinate_doing where job_id = %s;
        update procrastinate_jobs set lock = 'held' where id in (%1$s, %s, %s);
        update procrastinate_doing set lock = 'held' where job_id in (%2$s, %3$s)
    $$, :unclaimed, :first, :second)),
    'repaired', 'of three that run under one lock, one of which nobody claimed'
);
select is(
    array[derived(:unclaimed), derived(:second), derived(:first)],
    '{todo:blocked,todo:blocked,doing}', 'the one that was claimed first holds it'
);
select is(
    (select abort_requested from procrastinate_jobs where id = :unclaimed), false,
    'who waits again was not asked to abort'
);

-- The claim of a worker that runs on
select job, claim, worker from a_job('doing') \gset
select is(repaired('delete from procrastinate_todo'), 'repaired', 'what runs is not touched');
select is(
    (select claim_id from procrastinate_doing where job_id = :job), :claim::bigint,
    'where its row was true'
);

select * from finish();
rollback;
