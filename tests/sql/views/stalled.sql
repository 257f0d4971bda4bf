\ir ../setup.psql
select plan(5);

select is_empty('select * from procrastinate_stalled', 'no job, no row');
select a_worker('29 s') as alive, a_worker('31 s') as silent \gset
update procrastinate_workers set name = 'silent one' where id = :silent;
select a_job('doing', p_worker => :alive) \g /dev/null
select is_empty('select * from procrastinate_stalled', 'nor of a worker that lives');
select job as stalled from a_job(
    'doing', p_worker => :silent, p_lock => 'l', p_queue_name => 'mail', p_task_name => 'send'
) \gset
select job as orphan from a_job('doing') \gset
update procrastinate_jobs set worker_id = null where id = :orphan;
select a_job('succeeded', p_worker => :silent) \g /dev/null
select results_eq(
    $$
        select job_id, task_name::text, queue_name::text, lock, worker_id, worker_name,
            silent_for
        from procrastinate_stalled order by job_id
    $$,
    format($$values
        (%s::bigint, 'send', 'mail', 'l', %s::bigint, 'silent one', interval '31 s'),
        (%s, 'a_task', 'q', null, null, null, '0')
    $$, :stalled, :silent, :orphan),
    'jobs of workers that are silent for 30 seconds, or gone, and for how long'
);
select set_eq(
    'select job_id from procrastinate_stalled', 'select procrastinate_recover_stalled_jobs()',
    'they are those that recovery gives back'
);
select is_empty('select * from procrastinate_stalled', 'after which there are none');

select * from finish();
rollback;
