\ir ../../setup.psql
select plan(60);

select a_worker() as worker \gset
create function fixtures.summary(p_queues text[], p_limit integer default 10)
returns procrastinate_exchange_v1
language sql volatile as $$
    select f from procrastinate_fetch_jobs_v1(a_worker(), p_queues, p_limit) as f
    where f.outcome = 'summary'
$$;

-- What a claimed job is -------------------------------------------------------------------------

select job from a_job(
    p_queue_name => 'one', p_task_name => 'send', p_priority => 3, p_lock => 'l',
    p_queueing_lock => 'ql', p_args => '{"to": "x"}', p_scheduled_at => '2001-01-01Z'
) \gset
create temp table got as
select * from procrastinate_fetch_jobs_v1(:worker, '{one}', 5);
select results_eq(
    $$
        select
            outcome, job_id, status::text, queue_name::text, task_name::text, priority, lock,
            queueing_lock, args, scheduled_at, attempts, abort_requested
        from got where outcome <> 'summary'
    $$,
    format($$values (
        'claimed', %s::bigint, 'doing', 'one', 'send', 3, 'l', 'ql', '{"to": "x"}'::jsonb,
        '2001-01-01Z'::timestamptz, 0, false
    )$$, :job),
    'a claimed job comes with all that its worker needs'
);
select is(
    (select claim_id from got where job_id = :job),
    (select claim_id from procrastinate_doing where job_id = :job),
    'and with the number of its claim'
);
select is(status_of(:job), 'doing', 'it is in doing');
select is(
    (select worker_id from procrastinate_jobs where id = :job), :worker::bigint,
    'under the worker that fetched it'
);
select is(events_of(:job), '{scheduled,deferred,started}', 'and its start is on record');
select results_eq(
    $$select outcome, job_id, marks is not null, contended, more from got offset 1$$,
    $$values ('summary', null::bigint, true, false, false)$$,
    'the last row is the summary, with marks to hand back'
);
select is_sound('a fetch leaves the derived tables true');

-- Which jobs, in which order (I4) -----------------------------------------------------------------

create temp table line as
select row_number() over () as nr, a.job
from (values (0), (5), (0), (5), (-3), (2147483647), (-2147483648)) as p (priority)
cross join lateral a_job(p_queue_name => 'order', p_priority => p.priority) as a;
select is(
    fetched('{order}'),
    (select array_agg(job order by array_position('{6,2,4,1,3,5,7}'::bigint[], nr)) from line),
    'highest priority first, then lowest id'
);

select job as a from a_job(p_queue_name => 'qa') \gset
select job as b from a_job(p_queue_name => 'qb', p_priority => 1) \gset
select job as c from a_job(p_queue_name => 'qc') \gset
select is(fetched('{}'), '{}', 'no queue, no job');
select is(fetched('{unknown}'), '{}', 'a queue that nobody ever deferred to has none');
select is(
    fetched('{qa,qb,qa}'), array[:b, :a]::bigint[],
    'the order holds over several queues, each counted once'
);
select is(fetched(null), array[:c]::bigint[], 'null: all queues');
select is(fetched(null), '{}', 'a job is fetched once');

select job as a from a_job(p_queue_name => 'limit') \gset
select job as b from a_job(p_queue_name => 'limit') \gset
select is(fetched('{limit}', 1), array[:a]::bigint[], 'a fetch takes no more than it was asked to');
select is(fetched('{limit}', 0), '{}', 'or nothing');
select is(fetched('{limit}', 10000), array[:b]::bigint[], 'then what is left');

select job from a_job(p_queue_name => 'ended') \gset
update procrastinate_jobs set status = 'cancelled' where id = :job;
select is(fetched('{ended}'), '{}', 'a job that has ended is not fetched');

-- Schedules ------------------------------------------------------------------------------------------

select job as later from a_job(
    p_queue_name => 'due', p_scheduled_at => procrastinate_now() + interval '1 hour'
) \gset
select job as sooner from a_job(
    p_queue_name => 'due', p_scheduled_at => procrastinate_now() + interval '30 s'
) \gset
select is(fetched('{due}'), '{}', 'a delayed job is not fetched');
select is(
    (summary('{due}')).next_due_in, 30::double precision,
    'the summary says in how many seconds the next one falls due'
);
select is((summary('{other}')).next_due_in, null, 'of these queues only');
select travel('30 s') \g /dev/null
select is(fetched('{due}'), array[:sooner]::bigint[], 'when it falls due it is');
select is((summary('{due}')).next_due_in, 3570::double precision, 'and the next one counts');
select travel('2 hours') \g /dev/null
select is(fetched('{due}'), array[:later]::bigint[], 'however late');
select is((summary('{due}')).next_due_in, null, 'nothing is delayed any more');
select set_config('procrastinate.now', '', true) \g /dev/null
select job from a_job(p_queue_name => 'never', p_scheduled_at => 'infinity') \gset
select is((summary('{never}')).next_due_in, null, 'infinity never comes');

-- Locks ---------------------------------------------------------------------------------------------

create temp table locked as
select row_number() over () as nr, a.job
from (values (0), (5), (0), (5)) as p (priority)
cross join lateral a_job(p_queue_name => 'lock', p_priority => p.priority, p_lock => 'lock') as a;
create function fixtures.run_next() returns bigint language plpgsql as $$
declare v_jobs bigint[] := fetched('{lock}');
begin
    update procrastinate_jobs set status = 'succeeded' where id = any(v_jobs);
    return (select nr from locked where job = any(v_jobs));
end $$;
select is(
    array[run_next(), run_next(), run_next(), run_next(), run_next()], '{2,4,1,3,null}',
    'one job of a lock at a time: priority 0, 5, 0, 5 runs as 2, 4, 1, 3'
);

select job as far from a_job(
    p_queue_name => 'elsewhere', p_lock => 'line', p_priority => 9, p_scheduled_at => 'infinity'
) \gset
select job as near from a_job(p_queue_name => 'here', p_lock => 'line') \gset
select is(fetched('{here}'), '{}', 'a delayed head of another queue holds back its lock');
select is(
    coalesce((summary('{here}')).more, false), false, 'and that is no reason to come back at once'
);
update procrastinate_jobs set scheduled_at = null where id = :far;
select is(fetched('{here}'), '{}', 'as does one that no worker here serves');
select is(fetched('{elsewhere}'), array[:far]::bigint[], 'it is fetched where it belongs');
delete from procrastinate_jobs where id = :far;
select is(fetched('{here}'), array[:near]::bigint[], 'then the next of the lock may run');

insert into procrastinate_jobs (queue_name, task_name, lock)
select 'behind', 'a_task', 'one for all' from generate_series(1, 300);
insert into procrastinate_jobs (queue_name, task_name) values ('behind', 'free');
select results_eq(
    $$select j.task_name::text
    from unnest(fetched('{behind}', 2)) with ordinality as f (id, nr)
    join procrastinate_jobs as j on j.id = f.id order by f.nr$$,
    $$values ('a_task'), ('free')$$,
    'a job behind 300 that their lock holds back is found in one call'
);
select job as holder from a_job('doing', p_lock => 'ahead') \gset
select a_job(p_queue_name => 'far', p_lock => 'ahead') \g /dev/null
select a_job(p_queue_name => 'far') from generate_series(1, 30) as n \g /dev/null
select is(
    cardinality(fetched('{far}', 1)), 1,
    'a fetch takes no more than it was asked to, though it looks further'
);
insert into procrastinate_jobs (queue_name, task_name, priority)
select 'wide', 'a_task', n from generate_series(1, 200) as n;
select a_job(p_queue_name => 'wide', p_lock => 'ahead', p_priority => 500) \g /dev/null
select is(
    (
        select array_agg(j.priority order by f.nr)
        from unnest(fetched('{wide}', 2)) with ordinality as f (id, nr)
        join procrastinate_jobs as j on j.id = f.id
    ),
    '{200,199}', 'nor where a queue has very many priorities'
);
select is_sound('parked jobs leave the derived tables true');

-- A new job that outranks the head of a lock that was promoted ---------------------------------------

select job as holder from a_job('doing', p_queue_name => 'rank', p_lock => 'rank') \gset
select job as low from a_job(p_queue_name => 'rank', p_lock => 'rank') \gset
select is(fetched('{rank}'), '{}', 'the lock is held') ;
update procrastinate_jobs set status = 'succeeded' where id = :holder;
select job as high from a_job(p_queue_name => 'rank', p_lock => 'rank', p_priority => 1) \gset
select is(
    fetched('{rank}'), array[:high]::bigint[], 'a newcomer with a higher priority goes first'
);
select is(fetched('{rank}'), '{}', 'and the promoted one waits');
update procrastinate_jobs set status = 'succeeded' where id = :high;
select is(fetched('{rank}'), array[:low]::bigint[], 'for its turn');

-- Pauses ---------------------------------------------------------------------------------------------

select job from a_job(p_queue_name => 'paused') \gset
insert into procrastinate_queues (queue_name, paused_at, paused_until)
values ('paused', procrastinate_now(), procrastinate_now() + interval '1 min');
select is(fetched('{paused}'), '{}', 'a paused queue is not fetched from');
select is((summary('{paused}')).next_due_in, 60::double precision, 'an alarm is set for its end');
select job as due from a_job(p_queue_name => 'paused', p_scheduled_at => 'infinity') \gset
select is((summary('{paused}')).next_due_in, 60::double precision, 'whatever waits there');
select travel('1 min') \g /dev/null
select is(fetched('{paused}'), array[:job]::bigint[], 'when the pause has ended it is');
select set_config('procrastinate.now', '', true) \g /dev/null

-- Marks: hints that hide nothing -------------------------------------------------------------------------

create function fixtures.fetched_from(p_queue text, p_limit integer, inout p_marks bigint[],
    out jobs bigint[])
language plpgsql as $$
declare v_row procrastinate_exchange_v1;
begin
    jobs := '{}';
    for v_row in
        select * from procrastinate_fetch_jobs_v1(
            (select max(id) from procrastinate_workers), array[p_queue], p_limit, p_marks
        )
    loop
        if v_row.outcome = 'claimed' then
            jobs := jobs || v_row.job_id;
        else
            p_marks := v_row.marks;
        end if;
    end loop;
end $$;
insert into procrastinate_jobs (id, queue_name, task_name)
select 1000000 + n, 'marks', 'a_task' from generate_series(1, 20) as n;
select p_marks as marks, jobs from fetched_from('marks', 10, null) \gset
select is(:'jobs'::bigint[], array(select generate_series(1000001, 1000010)::bigint), 'the first ten');
insert into procrastinate_jobs (id, queue_name, task_name) values (1000000, 'marks', 'late');
update procrastinate_jobs set status = 'todo' where id = 1000004;
select p_marks as marks, jobs from fetched_from('marks', 8, :'marks') \gset
select is(
    cardinality(:'jobs'::bigint[]), 8, 'a fetch with marks gets as many as it asked for'
);
select p_marks as marks, jobs as more_jobs from fetched_from('marks', 10, :'marks') \gset
select p_marks as marks, jobs as last_jobs from fetched_from('marks', 10, :'marks') \gset
select is(
    (
        select array_agg(j order by j)
        from unnest(:'jobs'::bigint[] || :'more_jobs'::bigint[] || :'last_jobs'::bigint[]) as j
    ),
    array[1000000, 1000004]::bigint[] || array(select generate_series(1000011, 1000020)::bigint),
    'an id below the mark, late or back again, is found before a fetch comes back empty'
);
select is(
    (select jobs from fetched_from('marks', 1, :'marks')), '{}', 'nothing is fetched twice'
);
insert into procrastinate_jobs (queue_name, task_name, priority) values ('marks', 'a_task', 50);
insert into procrastinate_jobs (queue_name, task_name, priority) values ('marks', 'a_task', 0);
select jobs from fetched_from('marks', 1, :'marks') \gset
select is(
    (select priority from procrastinate_jobs where id = (:'jobs'::bigint[])[1]), 50,
    'a priority that was never seen before is noticed at once'
);
select is(
    outcome_of(format(
        'select procrastinate_fetch_jobs_v1(%s, ''{marks}'', 1, %L)', :worker, m.marks
    )),
    'ok', format('marks that nobody gave out (%s) do no harm', m.marks)
)
from unnest(
    array['{}', '{0}', '{0,0,0,1}', '{1,2,3,4,5,6,7,8}', '{null,null,null,null,null,null}']
) as m (marks);

-- Refusals ---------------------------------------------------------------------------------------------

select is(
    outcome_of(format('select procrastinate_fetch_jobs_v1(%s)', r.arguments)), r.code, r.why
)
from (
    values
        ('0, null, 1', 'PQ004', 'a worker that is not registered claims nothing'),
        ('null, null, 1', 'PQ003', 'a worker has an id'),
        (:'worker' || ', null, null', 'PQ003', 'how many jobs is not null'),
        (:'worker' || ', null, -1', 'PQ003', 'nor negative'),
        (:'worker' || ', array[null], 1', 'ok', 'a null among the queues names none')
) as r (arguments, code, why);
select isnt(
    error_of('select procrastinate_fetch_jobs_v1(0, null, 1)', 'hint'), '',
    'an unregistered worker is told the way out'
);
select is_sound('all the while the derived tables are true');

select * from finish();
rollback;
