\ir ../../setup.psql
select plan(9);

select procrastinate_defer_periodic_job_v2(
    _queue_name => 'cron', _lock => 'l', _queueing_lock => 'ql', _task_name => 'tick',
    _priority => 4, _periodic_id => 'hourly', _defer_timestamp => 3600,
    _args => '{"timestamp": 3600}'
) as job \gset
select results_eq(
    format($$
        select queue_name::text, task_name::text, priority, lock, queueing_lock, args
        from procrastinate_jobs where id = %s
    $$, :job),
    $$values ('cron', 'tick', 4, 'l', 'ql', '{"timestamp": 3600}'::jsonb)$$,
    'a tick defers a job'
);
select is(
    (select job_id from procrastinate_periodic_defers where task_name = 'tick'), :job::bigint,
    'and is on record with it'
);
select is(
    procrastinate_defer_periodic_job_v2('cron', null, null, 'tick', 0, 'hourly', 3600, '{}'),
    null, 'once'
);
select is(
    procrastinate_defer_periodic_job_v3('tick', 'hourly', 3600, 'cron', 0, null, null, '{}'),
    null, 'our own workers and those of 3.x share the record'
);
select isnt(
    procrastinate_defer_periodic_job_v2('cron', null, null, 'tick', 0, 'hourly', 7200, '{}'),
    null, 'the next tick is due'
);
select is(
    array(select defer_timestamp from procrastinate_periodic_defers), '{7200}',
    'and replaces the last one'
);
select is(
    error_of(
        $$select procrastinate_defer_periodic_job_v2('c', null, 'ql', 'tock', 0, '', 1, '{}')$$,
        'constraint'
    ),
    'procrastinate_jobs_queueing_lock_idx_v1', 'a queueing lock that is taken refuses the tick'
);
select is_empty(
    $$select from procrastinate_periodic_defers where task_name = 'tock'$$, 'without a trace'
);
select is_sound();

select * from finish();
rollback;
