\ir ../../setup.psql
select plan(7);

select procrastinate_defer_jobs_v1(array[
    row('mail', 'send', 0, null, null, '{"n": 1}', null),
    row('mail', 'send', 7, 'l', 'ql', '{"n": 2}', '2999-01-01Z')
]::procrastinate_job_to_defer_v1[]) as ids \gset
select results_eq(
    format($$
        select
            array_position(%L, j.id), j.queue_name::text, j.task_name::text, j.priority, j.lock,
            j.queueing_lock, j.args, j.scheduled_at, events_of(j.id)
        from procrastinate_jobs as j where j.id = any(%1$L) order by 1
    $$, :'ids'::bigint[]),
    $$values
        (1, 'mail', 'send', 0, null, null, '{"n": 1}'::jsonb, null::timestamptz,
            '{deferred}'::text[]),
        (2, 'mail', 'send', 7, 'l', 'ql', '{"n": 2}', '2999-01-01Z', '{scheduled,deferred}')
    $$,
    'an array of jobs in, an array of ids out, in the same order'
);
prepare clash as
select procrastinate_defer_jobs_v1(array[
    row('new', 't', 0, null, null, '{}', null), row('new', 't', 0, null, 'ql', '{}', null)
]::procrastinate_job_to_defer_v1[]);
select is(outcome_of('execute clash'), '23505', 'a queueing lock that is taken refuses all');
select is(
    error_of('execute clash', 'constraint'), 'procrastinate_jobs_queueing_lock_idx_v1',
    'by the name that 3.x looks for'
);
select is(
    error_of('execute clash', 'detail'), 'Key (queueing_lock)=(ql) already exists.',
    'with the text that 3.x reads'
);
select is(
    (select count(*) from procrastinate_jobs where queue_name = 'new'), 0::bigint, 'all of them'
);
select is(
    coalesce(cardinality(procrastinate_defer_jobs_v1('{}')), 0), 0, 'no job, no id'
);
select is_sound();

select * from finish();
rollback;
