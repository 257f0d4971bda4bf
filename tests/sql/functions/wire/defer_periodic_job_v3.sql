\ir ../../setup.psql
select plan(21);

select procrastinate_defer_periodic_job_v3(
    'tick', 'hourly', 3600, 'cron', 4, 'l', 'ql', '{"timestamp": 3600}'
) as job \gset
select results_eq(
    format($$
        select
            queue_name::text, task_name::text, priority, lock, queueing_lock, args,
            scheduled_at, status::text
        from procrastinate_jobs where id = %s
    $$, :job),
    $$values (
        'cron', 'tick', 4, 'l', 'ql', '{"timestamp": 3600}'::jsonb, null::timestamptz, 'todo'
    )$$,
    'a tick defers a job'
);
select is(events_of(:job), '{deferred}', 'with its event');
select results_eq(
    $$
        select task_name::text, periodic_id::text, defer_timestamp, job_id
        from procrastinate_periodic_defers
    $$,
    format($$values ('tick', 'hourly', 3600::bigint, %s::bigint)$$, :job),
    'and is on record with it'
);
select is(
    procrastinate_defer_periodic_job_v3('tick', 'hourly', 3600, 'cron', 0, null, null, '{}'),
    null, 'once'
);
update procrastinate_jobs set status = 'doing' where id = :job;
delete from procrastinate_jobs where id = :job;
select is(
    procrastinate_defer_periodic_job_v3('tick', 'hourly', 3600, 'cron', 0, null, null, '{}'),
    null, 'even when its job has been deleted'
);
select isnt(
    procrastinate_defer_periodic_job_v3('tick', 'daily', 3600, 'cron', 0, null, null, '{}'),
    null, 'another schedule of the task has ticks of its own'
);
select isnt(
    procrastinate_defer_periodic_job_v3('tock', 'hourly', 3600, 'cron', 0, null, null, '{}'),
    null, 'another task as well'
);
select isnt(
    procrastinate_defer_periodic_job_v3('tick', 'hourly', 7200, 'cron', 0, null, null, '{}'),
    null, 'the next tick is due'
);
select results_eq(
    $$
        select task_name::text, periodic_id::text, defer_timestamp
        from procrastinate_periodic_defers order by 1, 2
    $$,
    $$values ('tick', 'daily', 3600::bigint), ('tick', 'hourly', 7200), ('tock', 'hourly', 3600)$$,
    'and replaces the last one'
);

-- The queueing lock is taken: the tick is left for the next try, as nothing was written
select a_job(p_queueing_lock => 'busy') \g /dev/null
prepare clash as
select procrastinate_defer_periodic_job_v3('clash', '', 1, 'cron', 0, null, 'busy', '{}');
select is(
    error_of('execute clash', 'constraint'), 'procrastinate_jobs_queueing_lock_idx_v1',
    'a queueing lock that is taken refuses the tick'
);
select is_empty(
    $$select from procrastinate_periodic_defers where task_name = 'clash'$$,
    'and leaves no trace of it'
);
select is_sound('ticks leave the derived tables true');

select isnt(
    procrastinate_defer_periodic_job_v3('nulls', null, 1, 'cron', null, null, null, null),
    null, 'priority, locks and arguments may be null; no periodic id is the empty one'
);
select results_eq(
    $$
        select d.periodic_id::text, j.priority, j.args
        from procrastinate_periodic_defers as d join procrastinate_jobs as j on j.id = d.job_id
        where d.task_name = 'nulls'
    $$,
    $$values ('', 0, '{}'::jsonb)$$,
    'and stand for the defaults'
);
select is(
    outcome_of(format('select procrastinate_defer_periodic_job_v3(%s)', r.arguments)),
    'PQ003', r.why
)
from (
    values
        ('null, '''', 1, ''q'', 0, null, null, ''{}''', 'a tick has a task'),
        ('''t'', '''', null, ''q'', 0, null, null, ''{}''', 'a time'),
        ('''t'', '''', 1, null, 0, null, null, ''{}''', 'and a queue'),
        ('''t'', '''', 1, repeat(''q'', 129), 0, null, null, ''{}''',
            'whose name has at most 128 characters'),
        ('repeat(''t'', 129), '''', 1, ''q'', 0, null, null, ''{}''', 'as has the task''s'),
        ('''t'', repeat(''p'', 129), 1, ''q'', 0, null, null, ''{}''', 'and the periodic id'),
        ('''t'', '''', 1, ''q'', 0, null, null, ''[]''', 'arguments are an object')
) as r (arguments, why);

select * from finish();
rollback;
