\ir ../setup.psql
select plan(66);

-- What a plain INSERT leaves ----------------------------------------------------------------

insert into procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock)
values ('mail', 'send', 7, 'a lock', 'a queueing lock')
returning id as job \gset
select results_eq(
    format($$
        select queue_name::text, priority, lock, queueing_lock, scheduled_at
        from procrastinate_todo where job_id = %s
    $$, :job),
    $$values ('mail', 7, 'a lock', 'a queueing lock', null::timestamptz)$$,
    'a job inserted waits with its own queue, priority and locks'
);
select is(events_of(:job), '{deferred}', 'a job inserted leaves the event deferred');
select is(
    (select array_agg(at) from procrastinate_events where job_id = :job),
    array[procrastinate_now()],
    'and says when'
);

select job from a_job(p_scheduled_at => '2999-01-01Z') \gset
select is(derived(:job), 'todo:delayed', 'a job scheduled in the future is delayed');
select results_eq(
    format('select type::text, at from procrastinate_events where job_id = %s order by id', :job),
    $$values ('scheduled', '2999-01-01Z'::timestamptz), ('deferred', procrastinate_now())$$,
    'the event scheduled comes first and carries the time that was asked for'
);

select job from a_job(p_scheduled_at => '2001-01-01Z') \gset
select is(derived(:job), 'todo:ready', 'a job scheduled in the past may run at once');
select is(events_of(:job), '{scheduled,deferred}', 'and leaves both events as well');

select job from a_job(p_scheduled_at => 'infinity') \gset
select is(derived(:job), 'todo:delayed', 'a job scheduled at infinity is delayed');
select job from a_job(p_scheduled_at => '-infinity') \gset
select is(derived(:job), 'todo:ready', 'a job scheduled at -infinity may run at once');


set local procrastinate.now = '3000-01-01Z';
select job from a_job(p_scheduled_at => '2999-01-01Z') \gset
select is(derived(:job), 'todo:ready', 'delayed or not is told by the clock of the queue');
set local procrastinate.now = '';
delete from procrastinate_jobs where id = :job;

select is_sound('inserts one by one leave the derived tables true');

-- Every other status: imports and fixtures ---------------------------------------------------

select results_eq(
    $$
        with i as (
            insert into procrastinate_jobs (queue_name, task_name, status)
            select 'import', 'a_task', s
            from unnest(enum_range(null::procrastinate_job_status)) as s
            where s <> 'todo'
            returning id, status
        )
        select i.status::text from i order by i.status
    $$,
    $$values ('doing'), ('succeeded'), ('failed'), ('cancelled'), ('aborting'), ('aborted')$$,
    'a job may be inserted in any status'
);
select results_eq(
    $$
        select j.status::text, derived(j.id), events_of(j.id)
        from procrastinate_jobs as j where j.queue_name = 'import' order by j.status
    $$,
    $$values
        ('doing', 'doing', '{}'::text[]),
        ('succeeded', null, '{}'), ('failed', null, '{}'), ('cancelled', null, '{}'),
        ('aborting', null, '{}'), ('aborted', null, '{}')
    $$,
    'an import leaves no event, and a derived row only for what runs'
);
select isnt(
    (
        select d.claim_id
        from procrastinate_doing as d
        join procrastinate_jobs as j on j.id = d.job_id
        where j.queue_name = 'import'
    ),
    null,
    'a job inserted in doing has a claim'
);
select is_sound('imports leave the derived tables true');

-- Locks ---------------------------------------------------------------------------------------

select job from a_job('doing', p_lock => 'held') \gset
insert into procrastinate_jobs (queue_name, task_name, lock) values ('q', 'a_task', 'held');
select is(
    outcome_of($$
        insert into procrastinate_jobs (queue_name, task_name, lock, status)
        values ('q', 'a_task', 'held', 'doing')
    $$),
    '23505', 'a job cannot be inserted in doing while another holds its lock'
);
select is(
    error_of($$
        insert into procrastinate_jobs (queue_name, task_name, lock, status)
        values ('q', 'a_task', 'held', 'doing')
    $$, 'constraint'),
    'procrastinate_jobs_lock_idx_v1', 'and the error carries the name that 3.x gave to that rule'
);
select is(
    outcome_of($$
        insert into procrastinate_jobs (queue_name, task_name, lock, status)
        values ('q', 'a_task', 'twice', 'doing'), ('q', 'a_task', 'twice', 'doing')
    $$),
    '23505', 'nor two with one lock in one statement'
);
select is_sound('a refusal leaves the derived tables true');

insert into procrastinate_jobs (queue_name, task_name, lock, priority)
select 'many', 'a_task', 'lock ' || (n % 500), n % 3 from generate_series(1, 3000) as n;
select is_sound('one INSERT of many jobs with many locks leaves the derived tables true');
select is(
    (
        select count(*)::integer
        from procrastinate_todo where queue_name = 'many' and state in ('r', 'a')
    ),
    500, 'and one job a lock is ready'
);
select results_eq(
    $$
        select distinct on (j.lock) j.id
        from procrastinate_jobs as j where j.queue_name = 'many'
        order by j.lock, j.priority desc, j.id
    $$,
    $$
        select t.job_id
        from procrastinate_todo as t
        where t.queue_name = 'many' and t.state in ('r', 'a') order by t.lock
    $$,
    'the one with the highest priority, then the lowest id'
);

-- Queueing locks --------------------------------------------------------------------------------

select job from a_job(p_queueing_lock => 'once') \gset
prepare again as
insert into procrastinate_jobs (queue_name, task_name, queueing_lock)
values ('q', 'a_task', 'once');
select throws_ok('again', '23505', null, 'one job a queueing lock waits');
select is(
    error_of('execute again', 'constraint'), 'procrastinate_jobs_queueing_lock_idx_v1',
    'the loser hears the name that 3.x gave to that rule'
);
select is(
    error_of('execute again', 'detail'), 'Key (queueing_lock)=(once) already exists.',
    'and which queueing lock was taken'
);
select is(
    outcome_of($$
        insert into procrastinate_jobs (queue_name, task_name, queueing_lock)
        values ('q', 'a_task', 'two at once'), ('q', 'a_task', 'two at once')
    $$),
    '23505', 'two in one statement are one too many'
);
select is(
    (select count(*)::integer from procrastinate_jobs where queueing_lock = 'two at once'),
    0, 'and neither is inserted'
);
update procrastinate_jobs set status = 'doing' where id = :job;
select lives_ok('again', 'a job that runs does not count');
select is(
    outcome_of($$
        insert into procrastinate_jobs (queue_name, task_name, queueing_lock, status)
        values ('q', 'a_task', 'once', 'succeeded'), ('q', 'a_task', 'once', 'doing')
    $$),
    'ok', 'nor does one that was inserted in another status'
);
select is_sound('queueing locks leave the derived tables true');

-- Other writers: COPY, ON CONFLICT, MERGE, a CTE ---------------------------------------------------

copy procrastinate_jobs (queue_name, task_name, priority, lock, scheduled_at, status) from stdin;
copied	a_task	3	copied lock	\N	todo
copied	a_task	9	copied lock	\N	todo
copied	a_task	0	\N	2999-01-01 00:00:00Z	todo
copied	a_task	0	other	\N	doing
copied	a_task	0	other	\N	todo
\.
select results_eq(
    $$
        select derived(j.id), events_of(j.id)
        from procrastinate_jobs as j where j.queue_name = 'copied' order by j.id
    $$,
    $$values
        ('todo:blocked', '{deferred}'::text[]), ('todo:ready', '{deferred}'),
        ('todo:delayed', '{scheduled,deferred}'), ('doing', '{}'), ('todo:blocked', '{deferred}')
    $$,
    'COPY is a writer like any other'
);
select is_sound('COPY leaves the derived tables true');

select is(
    outcome_of(format($$
        insert into procrastinate_jobs (id, queue_name, task_name) values (%s, 'x', 'a_task')
        on conflict (id) do nothing
    $$, :job)),
    'ok', 'ON CONFLICT (id) DO NOTHING over a job that exists does nothing'
);
select job from a_job() \gset
select is(
    outcome_of(format($$
        insert into procrastinate_jobs (id, queue_name, task_name, priority)
        values (%s, 'moved', 'a_task', 4), (%s, 'new', 'a_task', 4)
        on conflict (id) do update
        set queue_name = excluded.queue_name, priority = excluded.priority
    $$, :job, :job + 1000000)),
    'ok', 'ON CONFLICT (id) DO UPDATE changes one job and inserts another'
);
select results_eq(
    format($$
        select queue_name::text, priority, events_of(job_id) from procrastinate_todo
        where job_id in (%s, %s) order by job_id
    $$, :job, :job + 1000000),
    $$values ('moved', 4, '{deferred}'::text[]), ('new', 4, '{deferred}')$$,
    'and both wait as they should'
);
select throws_ok(
    $$
        insert into procrastinate_jobs (queue_name, task_name, queueing_lock)
        values ('q', 'a_task', 'once')
        on conflict (queueing_lock) where status = 'todo' do nothing
    $$,
    '42P10', null,
    'ON CONFLICT (queueing_lock) WHERE status = ''todo'' has lost its index (docs/sql.md)'
);
select is(
    outcome_of($$
        merge into procrastinate_jobs as j
        using (values (100, 'keep'), (0, 'merged'), (-1, 'gone')) as s (nr, queue_name)
        on j.queue_name = s.queue_name
        when not matched then
            insert (queue_name, task_name, priority, lock)
            values (s.queue_name, 'a_task', s.nr, 'merge')
    $$),
    'ok', 'MERGE may insert'
);
select is(
    outcome_of($$
        merge into procrastinate_jobs as j
        using (values (7, 'keep'), (0, 'merged'), (-1, 'gone'), (1, 'fresh')) as s (nr, queue_name)
        on j.queue_name = s.queue_name
        when matched and s.nr < 0 then delete
        when matched and s.nr = 0 then update set status = 'cancelled'
        when matched then update set priority = s.nr
        when not matched then
            insert (queue_name, task_name, priority, lock)
            values (s.queue_name, 'a_task', s.nr, 'merge')
    $$),
    'ok', 'MERGE may insert, update and delete in one statement'
);
select results_eq(
    $$
        select j.queue_name::text, j.status::text, events_of(j.id)
        from procrastinate_jobs as j where j.lock = 'merge' order by j.queue_name
    $$,
    $$values
        ('fresh', 'todo', '{deferred}'::text[]), ('keep', 'todo', '{deferred}'),
        ('merged', 'cancelled', '{deferred,cancelled}')
    $$,
    'and each leaves its event'
);
select is_sound('ON CONFLICT and MERGE leave the derived tables true');

select job from a_job(p_lock => 'cte') \gset
select is(
    outcome_of(format($$
        with new as (
            insert into procrastinate_jobs (queue_name, task_name, lock, priority)
            values ('q', 'a_task', 'cte', 5), ('q', 'a_task', 'cte', 6)
        ),
        gone as (delete from procrastinate_jobs where queue_name = 'many' and priority = 2)
        update procrastinate_jobs set status = 'cancelled' where id = %s
    $$, :job)),
    'ok', 'one statement may insert, update and delete by CTEs'
);
select is_sound('CTEs that write leave the derived tables true');
select is(
    outcome_of($$
        insert into procrastinate_jobs (queue_name, task_name) select 'q', 'a' where false
    $$),
    'ok', 'an INSERT of no row is no error'
);

-- Names at their limits ------------------------------------------------------------------------

select is(
    outcome_of(format(
        'insert into procrastinate_jobs (queue_name, task_name) values (%L, %L)', q.name, 'a_task'
    )),
    q.expected,
    format('a queue name of %s bytes: %s', octet_length(q.name), q.expected)
)
from (
    values
        (repeat('q', 40), 'ok'), (repeat('q', 41), 'ok'), (repeat('q', 128), 'ok'),
        (repeat('é', 20), 'ok'), (repeat('é', 20) || 'q', 'ok'), (repeat('🐘', 128), 'ok'),
        (repeat('q', 129), '22001'), ('', 'ok')
) as q (name, expected);
select is(
    outcome_of(format(
        'insert into procrastinate_jobs (queue_name, task_name, lock, queueing_lock)'
        ' values (%L, %L, %L, %L)', 'q', repeat('🐘', 128), repeat('l', 2000), repeat('m', 2000)
    )),
    'ok', 'a task name of 128 characters and locks of 2000 bytes are no problem'
);
select is(
    outcome_of($$insert into procrastinate_jobs (queue_name, task_name) values (null, 'a')$$),
    '23502', 'a job has a queue'
);
select is(
    outcome_of($$
        insert into procrastinate_jobs (queue_name, task_name, abort_requested)
        values ('q', 'a', true)
    $$),
    '23514', 'a waiting job cannot be asked to abort'
);
select is_sound('odd names leave the derived tables true');

-- Who may write --------------------------------------------------------------------------------

select a_role('inserter') as inserter \gset
grant insert on procrastinate_jobs to :inserter;
grant usage on sequence procrastinate_jobs_id_seq to :inserter;
select is(
    outcome_of($$
        insert into procrastinate_jobs (queue_name, task_name, lock, queueing_lock, priority)
        values ('inserted', 'a_task', 'x', 'x', 42)
    $$, :'inserter'),
    'ok', 'a role that may only INSERT into jobs needs no rights on what is derived'
);
select is(
    outcome_of('select from procrastinate_todo', :'inserter'), '42501',
    'nor has it any'
);
select is(
    outcome_of('insert into procrastinate_todo (job_id, priority, state, queue_name)'
        ' values (1, 1, ''r'', ''q'')', :'inserter'),
    '42501', 'and cannot write there'
);
select is(
    outcome_of($$
        set local procrastinate.now = '2999-01-01Z';
        insert into procrastinate_jobs (queue_name, task_name, scheduled_at)
        values ('traveller', 'a_task', '2998-01-01Z');
        set local procrastinate.now = ''
    $$, :'inserter'),
    'ok', 'a producer may set the clock of the tests'
);
select is(
    (select derived(id) from procrastinate_jobs where queue_name = 'traveller'),
    'todo:delayed', 'but does not travel in time'
);

create schema evil;
create function evil.procrastinate_now() returns timestamptz
language sql as $$select 'infinity'::timestamptz$$;
create function evil.pg_notify(text, text) returns void
language plpgsql as $$begin raise exception 'redirected'; end$$;
create table evil.procrastinate_todo (like procrastinate_todo);
create table evil.procrastinate_events (like procrastinate_events);
create table evil.procrastinate_jobs (like procrastinate_jobs);
create temp table procrastinate_todo (like evil.procrastinate_todo);
create temp table procrastinate_events (like evil.procrastinate_events);
select current_schema() as home, current_setting('search_path') as path \gset
set local search_path = evil, :home, pg_catalog;
insert into :"home".procrastinate_jobs (queue_name, task_name, scheduled_at)
values ('attacked', 'a_task', '2999-01-01Z');
select set_config('search_path', :'path', true) \g /dev/null
drop table pg_temp.procrastinate_todo, pg_temp.procrastinate_events;
select results_eq(
    $$
        select derived(id), events_of(id)
        from procrastinate_jobs where queue_name = 'attacked'
    $$,
    $$values ('todo:delayed', '{scheduled,deferred}'::text[])$$,
    'no search_path and no temporary table of the caller redirects the trigger'
);

-- Triggers of users on jobs, which run before ours ------------------------------------------------

create function fixtures.meddle() returns trigger language plpgsql as $$
begin
    if new.task_name = 'raise' then
        update procrastinate_jobs set priority = 99, lock = 'meddled' where id = new.id;
    elsif new.task_name = 'move' then
        update procrastinate_jobs set queue_name = 'moved again' where id = new.id;
    elsif new.task_name = 'cancel' then
        update procrastinate_jobs set status = 'cancelled' where id = new.id;
    elsif new.task_name = 'start' then
        update procrastinate_jobs set status = 'doing' where id = new.id;
    elsif new.task_name = 'schedule' then
        update procrastinate_jobs set scheduled_at = '2999-01-01Z' where id = new.id;
    elsif new.task_name = 'delete' then
        delete from procrastinate_jobs where id = new.id;
    elsif new.task_name = 'another' then
        insert into procrastinate_jobs (queue_name, task_name, lock)
        values (new.queue_name, 'a_task', new.lock);
    end if;
    return null;
end $$;
create trigger a_users_trigger after insert on procrastinate_jobs
for each row execute function fixtures.meddle();
insert into procrastinate_jobs (queue_name, task_name, lock)
select 'meddled', t, 'together'
from unnest('{raise,move,cancel,start,schedule,delete,another}'::text[]) as t;
select is_sound('a user''s row trigger may change, start, end or delete the new job');
select results_eq(
    $$
        select j.task_name::text, j.status::text, events_of(j.id)
        from procrastinate_jobs as j
        where j.queue_name in ('meddled', 'moved again') and j.task_name in ('start', 'cancel')
        order by 1
    $$,
    $$values
        ('cancel', 'cancelled', '{cancelled,deferred}'::text[]),
        ('start', 'doing', '{started,deferred}')
    $$,
    'and no event is lost'
);
drop trigger a_users_trigger on procrastinate_jobs;

create function fixtures.rename() returns trigger language plpgsql as $$
begin
    new.queue_name := 'renamed';
    return new;
end $$;
create trigger a_users_trigger before insert on procrastinate_jobs
for each row execute function fixtures.rename();
insert into procrastinate_jobs (queue_name, task_name) values ('q', 'a_task')
returning id as job \gset
select is(
    (select queue_name::text from procrastinate_todo where job_id = :job), 'renamed',
    'a user''s BEFORE trigger has the first word'
);
drop trigger a_users_trigger on procrastinate_jobs;

create table orders (id bigserial primary key);
create function fixtures.order_defers() returns trigger language plpgsql as $$
begin
    insert into procrastinate_jobs (queue_name, task_name, args)
    values ('orders', 'ship', jsonb_build_object('order', new.id));
    return null;
end $$;
create trigger defer_it after insert on orders
for each row execute function fixtures.order_defers();
insert into orders select from generate_series(1, 50);
select is(
    (select count(*)::integer from procrastinate_todo where queue_name = 'orders'), 50,
    'a trigger of a user''s own table may defer'
);
select is_sound('whatever users'' triggers do');

select * from finish();
rollback;
