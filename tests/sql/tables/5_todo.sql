\ir ../setup.psql
select plan(3);

select job from a_job(p_queueing_lock => 'ql') \gset
select is(
    error_of(
        $$insert into procrastinate_todo (job_id, priority, state, queue_name, queueing_lock)
        values (-1, 0, 'r', 'q', 'ql')$$, 'constraint'
    ),
    'procrastinate_jobs_queueing_lock_idx_v1', 'a queueing lock is unique here, by the name of 3.x'
);
select is(
    outcome_of(format(
        $$insert into procrastinate_todo (job_id, priority, state, queue_name)
        values (%s, 0, 'r', 'q')$$, :job
    )),
    '23505', 'a job has one row'
);
select is(
    outcome_of($$insert into procrastinate_todo (job_id, priority, state, queue_name)
        values (-2, 0, 'r', 'q'), (-3, 0, 'r', 'q')$$),
    'ok', 'no queueing lock, no clash'
);

select * from finish();
rollback;
