\ir ../../setup.psql
select plan(16);

create temp table got as
select d.id, d.nr
from procrastinate_defer_jobs(array[
    row('mail', 'send', 0, null, null, '{"n": 1}', null),
    row('mail', 'send', 7, 'l', null, '{"n": 2}', '2999-01-01Z'),
    row('sms', 'text', null, null, 'ql', null, null)
]::procrastinate_job_to_defer_v1[]) with ordinality as d (id, nr);
select results_eq(
    $$
        select
            j.queue_name::text, j.task_name::text, j.priority, j.lock, j.queueing_lock, j.args,
            j.scheduled_at, events_of(j.id)
        from got as g join procrastinate_jobs as j on j.id = g.id order by g.nr
    $$,
    $$values
        ('mail', 'send', 0, null, null, '{"n": 1}'::jsonb, null::timestamptz,
            '{deferred}'::text[]),
        ('mail', 'send', 7, 'l', null, '{"n": 2}', '2999-01-01Z', '{scheduled,deferred}'),
        ('sms', 'text', 0, null, 'ql', '{}', null, '{deferred}')
    $$,
    'each job is what its row says; null is the default'
);
create temp table many as
select d.id, d.nr
from procrastinate_defer_jobs(array(
    select row(
        'many', 't', (n * 7919) % 13, 'l' || n % 11, 'ql' || (n * 7919) % 2003,
        jsonb_build_object('n', n), null
    )::procrastinate_job_to_defer_v1
    from generate_series(1, 2000) as n
)) with ordinality as d (id, nr);
select results_eq(
    $$
        select (j.args ->> 'n')::integer
        from many as m join procrastinate_jobs as j on j.id = m.id order by m.nr
    $$,
    'select generate_series(1, 2000)',
    'the ids of 2000 come in the order given'
);
select is_empty($$select procrastinate_defer_jobs('{}')$$, 'no job, no id');
select is_empty('select procrastinate_defer_jobs(null)', 'null is no job');

prepare clash as
select procrastinate_defer_jobs(array[
    row('new', 't', 0, null, 'free', '{}', null), row('new', 't', 0, null, 'ql', '{}', null)
]::procrastinate_job_to_defer_v1[]);
select is(
    error_of('execute clash', 'constraint'), 'procrastinate_jobs_queueing_lock_idx_v1',
    'a queueing lock that is taken refuses the call'
);
select is(
    (select count(*) from procrastinate_jobs where queue_name = 'new'), 0::bigint,
    'with all its jobs'
);
select is(
    outcome_of($$
        select procrastinate_defer_jobs(array[
            row('q', 't', 0, null, 'twice', '{}', null),
            row('q', 't', 0, null, 'twice', '{}', null)
        ]::procrastinate_job_to_defer_v1[])
    $$),
    '23505', 'as does one that is given twice'
);
select is(
    outcome_of(format(
        'select procrastinate_defer_jobs(array[row(''q'', ''t'', 0, null, null, ''{}'', null), %s]'
        '::procrastinate_job_to_defer_v1[])', r.job
    )),
    r.code, r.why
)
from (
    values
        ('null', 'PQ003', 'a job is not null'),
        ('row(null, ''t'', 0, null, null, ''{}'', null)', 'PQ003', 'it has a queue'),
        ('row(''q'', null, 0, null, null, ''{}'', null)', 'PQ003', 'and a task'),
        ('row('''', ''t'', 0, null, null, ''{}'', null)', 'PQ003', 'whose names are not empty'),
        ('row(repeat(''q'', 129), ''t'', 0, null, null, ''{}'', null)', 'PQ003',
            'and have at most 128 characters'),
        ('row(''q'', repeat(''t'', 129), 0, null, null, ''{}'', null)', 'PQ003', 'both'),
        ('row(''q'', ''t'', 0, null, null, ''[1]'', null)', 'PQ003', 'arguments are an object'),
        ('row(''q'', ''t'', 0, null, null, ''null'', null)', 'PQ003', 'and not a JSON null')
) as r (job, code, why);
select is_sound('whatever was deferred, the derived tables are true');

select * from finish();
rollback;
