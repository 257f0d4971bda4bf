\ir ../setup.psql
select plan(118);

-- Every edge of the state machine by a bare UPDATE (I2) --------------------------------------------

create function fixtures.edge(p_from text, p_to text) returns text
language plpgsql as $$
declare
    v_job bigint;
    v_before text[];
    v_outcome text;
begin
    if p_from = 'aborting' then
        insert into procrastinate_jobs (queue_name, task_name, status)
        values ('q', 'a_task', 'aborting') returning id into v_job;
    else
        v_job := (select a.job from a_job(p_from) as a);
    end if;
    v_before := events_of(v_job);
    v_outcome := outcome_of(format(
        'update procrastinate_jobs set status = %L where id = %s', p_to, v_job
    ));
    if v_outcome <> 'ok' then
        return v_outcome;
    end if;
    if status_of(v_job) <> p_to
        or coalesce(derived(v_job), '') is distinct from (case p_to
            when 'todo' then 'todo:ready' when 'doing' then 'doing' else ''
        end)
    then
        return 'wrong';
    end if;
    return coalesce((events_of(v_job))[cardinality(v_before) + 1], 'no event');
end $$;

select is(
    edge(e.from_status, e.to_status), e.expected,
    format('%s to %s: %s', e.from_status, e.to_status, e.expected)
)
from (
    select
        f.from_status, t.to_status,
        case
            when f.from_status = t.to_status then 'no event'
            else coalesce(a.event, 'PQ001')
        end as expected
    from unnest('{todo,doing,succeeded,failed,cancelled,aborting,aborted}'::text[])
        with ordinality as f (from_status, nr)
    cross join unnest('{todo,doing,succeeded,failed,cancelled,aborting,aborted}'::text[])
        with ordinality as t (to_status, nr)
    left join (
        values
            ('todo', 'doing', 'started'),
            ('todo', 'cancelled', 'cancelled'),
            ('todo', 'succeeded', 'cancelled'),
            ('todo', 'failed', 'cancelled'),
            ('todo', 'aborted', 'no event'),  -- finish of a waiting job: 3.x allows it
            ('doing', 'todo', 'deferred_for_retry'),
            ('doing', 'succeeded', 'succeeded'),
            ('doing', 'failed', 'failed'),
            ('doing', 'aborted', 'aborted'),
            ('failed', 'todo', 'retried'),
            ('succeeded', 'todo', 'no event'),
            ('cancelled', 'todo', 'no event'),
            ('aborted', 'todo', 'no event'),
            ('aborting', 'todo', 'no event')
    ) as a (from_status, to_status, event)
        on (a.from_status, a.to_status) = (f.from_status, t.to_status)
    order by f.nr, t.nr
) as e;
select is_sound('every edge leaves the derived tables true');

select job from a_job('succeeded') \gset
prepare illegal as
update procrastinate_jobs set status = 'doing' where id = (select max(id) from procrastinate_jobs);
select throws_ok('illegal', 'PQ001', null, 'a change that the state machine refuses is PQ001');
select matches(
    error_of('execute illegal'), format('\m%s\M.*succeeded.*doing', :job),
    'its message names the job, its status and the one that was asked for'
);
select isnt(error_of('execute illegal', 'detail'), '', 'its detail says more');
select isnt(error_of('execute illegal', 'hint'), '', 'its hint says what to do');
select is(status_of(:job), 'succeeded', 'and nothing has changed');
select is(
    outcome_of(format($$
        update procrastinate_jobs
        set status = case when status = 'succeeded' then 'doing' else 'cancelled'
        end::procrastinate_job_status
        where id in (%s, %s)
    $$, :job, (select a.job from a_job() as a))),
    'PQ001', 'one illegal change refuses the whole statement'
);

-- What an event says --------------------------------------------------------------------------

select a_worker() as worker \gset
select job from a_job(p_scheduled_at => '2001-01-01Z') \gset
update procrastinate_jobs set status = 'doing', worker_id = :worker where id = :job;
update procrastinate_jobs
set status = 'todo', attempts = 1, scheduled_at = '2999-01-01Z' where id = :job;
select is(derived(:job), 'todo:delayed', 'a job retried for later is delayed');
select results_eq(
    format($$
        select type::text, at, attempt, by_worker_id
        from procrastinate_events where job_id = %s order by id offset 2
    $$, :job),
    format($$values
        ('started', procrastinate_now(), 0, %1$s::bigint),
        ('scheduled', '2999-01-01Z', 1, %1$s),
        ('deferred_for_retry', procrastinate_now(), 1, %1$s)
    $$, :worker),
    'events carry attempt and worker; scheduled comes before deferred_for_retry'
);
select is(
    (select worker_id from procrastinate_jobs where id = :job), :worker::bigint,
    'a retried job still says who ran it'
);
select is(events_of(:job), events_of(:job), 'history is stable');

select job from a_job('failed') \gset
update procrastinate_jobs set status = 'todo', scheduled_at = '2999-01-01Z' where id = :job;
select is(
    (events_of(:job))[4:], '{scheduled,retried}', 'a failed job retried for later leaves both'
);

-- 3.x: any update that leaves a job in todo with a date is an event scheduled
select job from a_job(p_scheduled_at => '2999-01-01Z') \gset
update procrastinate_jobs set scheduled_at = '2999-02-02Z' where id = :job;
select results_eq(
    format($$
        select type::text, at from procrastinate_events where job_id = %s order by id offset 2
    $$, :job),
    $$values ('scheduled', '2999-02-02Z'::timestamptz)$$,
    'a new schedule leaves the event scheduled with the new date'
);
update procrastinate_jobs set scheduled_at = null where id = :job;
select is(events_of(:job), '{scheduled,deferred,scheduled}', 'no schedule, no event');
select is(derived(:job), 'todo:ready', 'and the job may run at once');

-- Abort requests ----------------------------------------------------------------------------------

select job from a_job('doing') \gset
update procrastinate_jobs set abort_requested = true where id = :job;
select is(events_of(:job), '{deferred,started,abort_requested}', 'an abort request is an event');
update procrastinate_jobs set abort_requested = true where id = :job;
select is(
    events_of(:job), '{deferred,started,abort_requested}',
    'one that is repeated is not (docs/decisions)'
);
select is(derived(:job), 'doing', 'a job asked to abort still runs');
update procrastinate_jobs set status = 'failed', abort_requested = false where id = :job;
select is(
    events_of(:job), '{deferred,started,abort_requested,failed}', 'it may end in another way'
);
select job from a_job() \gset
select is(
    outcome_of(format(
        'update procrastinate_jobs set abort_requested = true where id = %s', :job
    )),
    '23514', 'a waiting job cannot be asked to abort'
);
update procrastinate_jobs set status = 'cancelled', abort_requested = true where id = :job;
select is(
    events_of(:job), '{deferred,abort_requested,cancelled}',
    'but may be cancelled with the request on record'
);

-- Nothing changed, nothing written ------------------------------------------------------------------

select job from a_job(p_lock => 'still') \gset
update procrastinate_jobs set args = '{"a": 1}', task_name = 'other' where id = :job;
update procrastinate_jobs set status = 'todo', priority = 0 where id = :job;
select is(events_of(:job), '{deferred}', 'a change of what nobody derives leaves no event');
select is(
    outcome_of('update procrastinate_jobs set priority = 1 where false'), 'ok',
    'an UPDATE of no row is no error'
);

-- Queue, priority, schedule, locks of a waiting job -----------------------------------------------------

select job from a_job(p_queue_name => 'from') \gset
update procrastinate_jobs set queue_name = 'to', priority = 11 where id = :job;
select is(fetched('{from}'), '{}', 'a job that was moved is not fetched from its old queue');
select is(fetched('{to}'), array[:job]::bigint[], 'but from its new one');

select job as low from a_job(p_queue_name => 'prio', p_lock => 'prio') \gset
select job as high from a_job(p_queue_name => 'prio', p_lock => 'prio') \gset
update procrastinate_jobs set priority = 5 where id = :high;
select is(fetched('{prio}'), array[:high]::bigint[], 'a priority raised makes another head');
update procrastinate_jobs set status = 'succeeded' where id = :high;
select is(fetched('{prio}'), array[:low]::bigint[], 'and the other follows');

select job as one from a_job(p_queue_name => 'lower', p_lock => 'lower', p_priority => 9) \gset
select job as two from a_job(p_queue_name => 'lower', p_lock => 'lower', p_priority => 5) \gset
select job as holder from a_job('doing', p_lock => 'held') \gset
select job as held from a_job(p_queue_name => 'lower', p_lock => 'held') \gset
-- parks two and held
select is(fetched('{lower}'), array[:one]::bigint[], 'one job of a lock is fetched');
update procrastinate_jobs set status = 'todo' where id = :one;
update procrastinate_jobs set priority = 0 where id = :one;
select is(
    fetched('{lower}'), array[:two]::bigint[], 'a priority lowered makes another head'
);
update procrastinate_jobs set lock = null where id = :held;
select is(fetched('{lower}'), array[:held]::bigint[], 'a job without its lock is free');
update procrastinate_jobs set lock = 'held' where id = :one;
select is(fetched('{lower}'), '{}', 'one that gets a lock that is held is not');
update procrastinate_jobs set lock = 'free' where id = :one;
select is(fetched('{lower}'), array[:one]::bigint[], 'one that is moved to a free lock is');

select job as holder from a_job('doing', p_lock => 'release') \gset
select job as next from a_job(p_queue_name => 'release', p_lock => 'release') \gset
select is(fetched('{release}'), '{}', 'a lock is held');
update procrastinate_jobs set lock = 'elsewhere' where id = :holder;
select is(
    fetched('{release}'), array[:next]::bigint[],
    'a running job that is given another lock releases the first'
);
select is(
    outcome_of(format(
        'update procrastinate_jobs set lock = ''elsewhere'' where id = %s', :next
    )),
    '23505', 'and no other running job can take the second'
);
select is(
    outcome_of(format('update procrastinate_jobs set lock = null where id = %s', :holder)),
    'ok', 'a running job may lose its lock'
);
select job as older from a_job('doing', p_queue_name => 'older') \gset
select job as holder from a_job('doing', p_lock => 'given') \gset
select job as next from a_job(p_queue_name => 'given', p_lock => 'given') \gset
select is(fetched('{given}'), '{}', 'the lock is held');
update procrastinate_jobs set lock = null where id = :holder;
select is(derived(:next), 'todo:ready', 'its next job is promoted when it is free');
update procrastinate_jobs set lock = 'given' where id = :older;
select is(
    fetched('{given}'), '{}', 'but waits when a job that has long been running is given the lock'
);
update procrastinate_jobs set status = 'succeeded' where id = :older;
select is(fetched('{given}'), array[:next]::bigint[], 'until that one ends');
select is_sound('changes of waiting and running jobs leave the derived tables true');

select job as first from a_job(p_queue_name => 'plan', p_lock => 'plan') \gset
select job as second from a_job(p_queue_name => 'plan', p_lock => 'plan') \gset
update procrastinate_jobs set scheduled_at = '2999-01-01Z' where id = :first;
select is(
    fetched('{plan}'), '{}', 'a head that is put off holds back the others of its lock'
);
update procrastinate_jobs set scheduled_at = null where id = :first;
select is(fetched('{plan}'), array[:first]::bigint[], 'until it may run again');
update procrastinate_jobs set status = 'cancelled' where id = :second;
update procrastinate_jobs set status = 'succeeded' where id = :first;
select is_sound('schedules leave the derived tables true');

select job as first from a_job(p_queue_name => 'swap', p_lock => 'swap 1') \gset
select job as second from a_job(p_queue_name => 'swap', p_lock => 'swap 2', p_priority => 1) \gset
update procrastinate_jobs
set lock = case lock when 'swap 1' then 'swap 2' else 'swap 1' end where queue_name = 'swap';
select is(
    fetched('{swap}'), array[:second, :first]::bigint[],
    'two jobs may exchange their locks in one statement'
);

select job from a_job(p_queueing_lock => 'taken') \gset
select job as other from a_job(p_queueing_lock => 'own') \gset
select is(
    error_of(format($$
        update procrastinate_jobs set queueing_lock = 'taken' where id = %s
    $$, :other), 'constraint'),
    'procrastinate_jobs_queueing_lock_idx_v1', 'a queueing lock that is taken is refused'
);
update procrastinate_jobs set status = 'doing' where id = :job;
select is(
    outcome_of(format($$
        update procrastinate_jobs set queueing_lock = 'taken' where id = %s
    $$, :other)),
    'ok', 'a running job has given its own back'
);
select is(
    outcome_of(format($$update procrastinate_jobs set status = 'todo' where id = %s$$, :job)),
    '23505', 'and cannot wait again while another waits with it'
);
select is(derived(:job), 'doing', 'it runs on');

-- The one who holds a lock ------------------------------------------------------------------------------

select job as holder from a_job('doing', p_queue_name => 'hold', p_lock => 'hold') \gset
select job as next from a_job(p_queue_name => 'hold', p_lock => 'hold') \gset
prepare start_held as update procrastinate_jobs set status = 'doing' where queue_name = 'hold';
select is(
    error_of('execute start_held', 'constraint'), 'procrastinate_jobs_lock_idx_v1',
    'a bare UPDATE cannot start a job whose lock is held'
);
select is(
    error_of('execute start_held', 'detail'), 'Key (lock)=(hold) already exists.',
    'and hears which lock'
);
update procrastinate_jobs set status = 'todo' where id = :holder;
select is(
    outcome_of('execute start_held'), '23505', 'two jobs of one lock cannot start together'
);
update procrastinate_jobs set status = 'cancelled' where id = :holder;
select is(outcome_of('execute start_held'), 'PQ001', 'nor one with a cancelled job');
select is(
    outcome_of(format($$update procrastinate_jobs set status = 'doing' where id = %s$$, :next)),
    'ok', 'the one that waits alone can'
);
select is_sound('refusals leave the derived tables true');

-- A promotion at each way out of doing
select is(
    (
        select array_agg(
            case when array[next.job]::bigint[] = (
                select fetched(array[w.queue])
                from (select outcome_of(format(w.statement, holder.job))) as done (outcome)
                where done.outcome = 'ok'
            ) then 'promoted' else w.statement end
        )
        from (
            values
                ('o1', $$update procrastinate_jobs set status = 'succeeded' where id = %s$$),
                ('o2', $$update procrastinate_jobs set status = 'failed' where id = %s$$),
                ('o3', $$update procrastinate_jobs set status = 'aborted' where id = %s$$),
                ('o4', $$update procrastinate_jobs set status = 'todo', priority = -1
                    where id = %s$$),
                ('o5', $$delete from procrastinate_jobs where id = %s$$),
                ('o6', $$update procrastinate_jobs set lock = null where id = %s$$)
        ) as w (queue, statement)
        cross join lateral a_job('doing', w.queue, p_lock => w.queue) as holder
        cross join lateral a_job('todo', w.queue, p_lock => w.queue) as next
        cross join lateral fetched(array[w.queue]) as parked (nobody)
        where cardinality(parked.nobody) = 0
    ),
    array_fill('promoted'::text, array[6]),
    'whichever way a job leaves doing, the next of its lock may run'
);
select is_sound('and the derived tables are true');

-- Many at once ----------------------------------------------------------------------------------------

insert into procrastinate_jobs (queue_name, task_name, lock)
select 'many', 'a_task', 'lock ' || (n % 700) from generate_series(1, 2100) as n;
update procrastinate_jobs set priority = 1 where queue_name = 'many' and id % 3 = 0;
select is_sound('one UPDATE may change the priorities of many jobs with many locks');
update procrastinate_jobs set status = 'doing'
where id in (
    select distinct on (lock) id
    from procrastinate_jobs where queue_name = 'many' order by lock, id desc
);
select is_sound('start many');
update procrastinate_jobs
set status = case status when 'doing' then 'succeeded' else 'cancelled'
end::procrastinate_job_status
where queue_name = 'many' and id % 2 = 0;
select is_sound('end and cancel many in one statement');
update procrastinate_jobs set status = 'todo' where queue_name = 'many' and status = 'doing';
select is_sound('and put them back');
update procrastinate_jobs set lock = 'all one', queue_name = 'one' where queue_name = 'many';
select is_sound('and give them one lock');
update procrastinate_jobs set status = 'cancelled' where queue_name = 'one' and status = 'todo';
select is_sound('and cancel them all');

-- Who may write --------------------------------------------------------------------------------------

select a_role('updater') as updater \gset
grant select, update (status, priority) on procrastinate_jobs to :updater;
select job from a_job(p_lock => 'updater') \gset
select is(
    outcome_of(
        format('update procrastinate_jobs set status = ''cancelled'' where id = %s', :job),
        :'updater'
    ),
    'ok', 'a role that may UPDATE one column of jobs needs no other right'
);
select is(events_of(:job), '{deferred,cancelled}', 'and its event is written');

select current_setting('search_path') as path, current_schema() as home \gset
create schema evil;
create table evil.procrastinate_doing (like procrastinate_doing);
create temp table procrastinate_todo (like procrastinate_todo);
set local search_path = pg_temp, evil, :home;
update :"home".procrastinate_jobs set status = 'todo' where id = :job;
update :"home".procrastinate_jobs set status = 'doing' where id = :job;
select set_config('search_path', :'path', true) \g /dev/null
drop table pg_temp.procrastinate_todo;
select is_sound('no search_path and no temporary table of the caller redirects the trigger');

-- Triggers of users on jobs, which run before ours ----------------------------------------------------

create function fixtures.meddle() returns trigger language plpgsql as $$
begin
    if new.queue_name <> 'meddled' or pg_trigger_depth() > 1 then
        return null;
    end if;
    case new.task_name
        when 'end' then
            update procrastinate_jobs set status = 'succeeded' where id = new.id;
        when 'back' then
            update procrastinate_jobs set status = 'todo' where id = new.id;
        when 'raise' then
            update procrastinate_jobs set priority = 50, lock = 'other' where id = new.id;
        when 'delete' then
            delete from procrastinate_jobs where id = new.id;
        when 'defer' then
            insert into procrastinate_jobs (queue_name, task_name, lock)
            values ('meddled', 'nothing', new.lock);
        else null;
    end case;
    return null;
end $$;
insert into procrastinate_jobs (queue_name, task_name, lock)
select 'meddled', t, t from unnest('{end,back,raise,delete,defer,nothing}'::text[]) as t;
create trigger a_users_trigger after update on procrastinate_jobs
for each row execute function fixtures.meddle();
update procrastinate_jobs set status = 'doing' where queue_name = 'meddled';
select is_sound('a user''s row trigger may change the same job again before ours runs');
select results_eq(
    $$
        select j.task_name::text, j.status::text, events_of(j.id)
        from procrastinate_jobs as j
        where j.queue_name = 'meddled' and j.task_name in ('end', 'back')
        order by 1
    $$,
    $$values
        ('back', 'todo', '{deferred,deferred_for_retry,started}'::text[]),
        ('end', 'succeeded', '{deferred,succeeded,started}')
    $$,
    'and no event is lost'
);
drop trigger a_users_trigger on procrastinate_jobs;

create function fixtures.touch() returns trigger language plpgsql as $$
begin
    new.priority := 77;
    return new;
end $$;
create trigger a_users_trigger before update of status on procrastinate_jobs
for each row execute function fixtures.touch();
select job from a_job('failed', p_queue_name => 'touched') \gset
update procrastinate_jobs set status = 'todo' where id = :job;
select is(
    (select priority from procrastinate_todo where job_id = :job), 77,
    'a user''s BEFORE trigger has the first word'
);

select * from finish();
rollback;
