\ir ../../setup.psql
select plan(25);

-- Jobs in parallel arrays, ids in the order given -------------------------------------------------------

create temp table got as
select d.id, d.nr
from procrastinate_defer_jobs_v2(
    '{mail,mail,sms}', '{send,send,text}', '{0,7,null}', array[null, 'l', null],
    array[null, null, 'ql'], array['{"n": 1}', '{"n": 2}', null]::jsonb[],
    array[null, '2999-01-01Z', null]::timestamptz[]
) with ordinality as d (id, nr);
select results_eq(
    $$
        select
            j.queue_name::text, j.task_name::text, j.priority, j.lock, j.queueing_lock, j.args,
            j.scheduled_at, j.status::text, j.attempts
        from got as g join procrastinate_jobs as j on j.id = g.id order by g.nr
    $$,
    $$values
        ('mail', 'send', 0, null, null, '{"n": 1}'::jsonb, null::timestamptz, 'todo', 0),
        ('mail', 'send', 7, 'l', null, '{"n": 2}', '2999-01-01Z', 'todo', 0),
        ('sms', 'text', 0, null, 'ql', '{}', null, 'todo', 0)
    $$,
    'each job has what stands at its place; null is the default'
);
select results_eq(
    'select events_of(id) from got order by nr',
    $$values ('{deferred}'::text[]), ('{scheduled,deferred}'), ('{deferred}')$$,
    'each leaves its events'
);
create temp table many as
select d.id, d.nr
from procrastinate_defer_jobs_v2(
    array_fill('many'::text, array[2000]), array_fill('t'::text, array[2000]),
    array(select (n * 7919) % 13 from generate_series(1, 2000) as n),
    array(select 'l' || n % 11 from generate_series(1, 2000) as n),
    array(select 'ql' || (n * 7919) % 2003 from generate_series(1, 2000) as n),
    array(select jsonb_build_object('n', n) from generate_series(1, 2000) as n),
    null
) with ordinality as d (id, nr);
select results_eq(
    $$
        select (j.args ->> 'n')::integer
        from many as m join procrastinate_jobs as j on j.id = m.id order by m.nr
    $$,
    'select generate_series(1, 2000)',
    'the ids of 2000 come in the order given'
);
select is_sound('a defer of many leaves the derived tables true');
select is_empty(
    $$
        select procrastinate_defer_jobs_v2('{}', '{}', '{}', '{}', '{}', '{}', '{}')
        union all
        select procrastinate_defer_jobs_v2(null, null, null, null, null, null, null)
    $$,
    'no job, no id'
);
select is(
    (
        select count(*) from procrastinate_defer_jobs_v2(
            '{q}', '{t}', null, null, null, null, null
        )
    ),
    1::bigint, 'whole arrays may be null'
);

-- All or nothing (I5) ---------------------------------------------------------------------------------------

select a_job(p_queueing_lock => 'taken') \g /dev/null
prepare clash as
select procrastinate_defer_jobs_v2(
    '{new,new}', '{t,t}', null, null, '{free,taken}', null, null
);
select is(
    error_of('execute clash', 'constraint'), 'procrastinate_jobs_queueing_lock_idx_v1',
    'a queueing lock that is taken refuses the call'
);
select is(
    error_of('execute clash', 'detail'), 'Key (queueing_lock)=(taken) already exists.',
    'and says which'
);
select is(
    (select count(*) from procrastinate_jobs where queue_name = 'new'), 0::bigint,
    'with all its jobs'
);

-- Refusals, before anything is written ----------------------------------------------------------------------

select is(
    outcome_of(format(
        'select procrastinate_defer_jobs_v2(%s)', r.arguments
    )),
    r.code, r.why
)
from (
    values
        ('''{q,null}'', ''{t,t}'', null, null, null, null, null', 'PQ003', 'a job has a queue'),
        ('''{q,q}'', ''{t,null}'', null, null, null, null, null', 'PQ003', 'and a task'),
        ('array[''q'', ''''], ''{t,t}'', null, null, null, null, null', 'PQ003',
            'whose names are not empty'),
        ('''{q,q}'', ''{t}'', null, null, null, null, null', 'PQ003', 'one of each'),
        ('''{q}'', null, null, null, null, null, null', 'PQ003', 'not none'),
        ('null, ''{t}'', null, null, null, null, null', 'PQ003', 'of neither'),
        ('array[repeat(''q'', 129)], ''{t}'', null, null, null, null, null', 'PQ003',
            'a queue name has at most 128 characters'),
        ('array[repeat(''🐘'', 128)], ''{t}'', null, null, null, null, null', 'ok',
            'of any kind'),
        ('''{q}'', array[repeat(''t'', 129)], null, null, null, null, null', 'PQ003',
            'a task name as well'),
        ('''{q}'', ''{t}'', null, null, null, array[''[1]'']::jsonb[], null', 'PQ003',
            'arguments are an object, not an array'),
        ('''{q}'', ''{t}'', null, null, null, array[''"x"'']::jsonb[], null', 'PQ003',
            'nor a string'),
        ('''{q}'', ''{t}'', null, null, null, array[''null'']::jsonb[], null', 'PQ003',
            'nor a JSON null'),
        ('''{q}'', ''{t}'', ''{1,2}'', null, null, null, null', 'PQ003',
            'no array is longer than there are jobs'),
        ('''{q}'', ''{t}'', null, ''{l,m}'', null, null, null', 'PQ003', 'none of them'),
        ('''{q}'', ''{t}'', null, null, null, array[''{}'', ''{}'']::jsonb[], null', 'PQ003',
            'none at all')
) as r (arguments, code, why);
select matches(
    error_of($$
        select procrastinate_defer_jobs_v2(
            array[repeat('q', 129)], '{t}', null, null, null, null, null
        )
    $$),
    '129', 'the message names the value'
);

select * from finish();
rollback;
