\ir ../../setup.psql
select plan(16);

select job as holder from a_job(p_queueing_lock => 'taken') \gset
create temp table got as
select * from procrastinate_try_defer_jobs_v1(
    '{a,b,c,d,e}', '{t,t,t,t,t}', '{1,2,3,4,5}', '{l,l,l,l,l}',
    '{null,taken,free,free,null}', array['{"n": 1}', null, null, null, '{"n": 5}']::jsonb[],
    array[null, null, null, null, '2999-01-01Z']::timestamptz[]
);
select results_eq(
    'select ordinal, job_id is not null, conflict from got order by ordinal',
    $$values
        (1, true, null), (2, false, 'taken'), (3, true, null), (4, false, 'free'), (5, true, null)
    $$,
    'each job has its id or the queueing lock that was taken, by another or in the same call'
);
select results_eq(
    $$
        select
            g.ordinal, j.queue_name::text, j.priority, j.lock, j.queueing_lock, j.args,
            j.scheduled_at, events_of(j.id)
        from got as g join procrastinate_jobs as j on j.id = g.job_id order by g.ordinal
    $$,
    $$values
        (1, 'a', 1, 'l', null, '{"n": 1}'::jsonb, null::timestamptz, '{deferred}'::text[]),
        (3, 'c', 3, 'l', 'free', '{}', null, '{deferred}'),
        (5, 'e', 5, 'l', null, '{"n": 5}', '2999-01-01Z', '{scheduled,deferred}')
    $$,
    'what was deferred has what stands at its place'
);
select is(
    (select count(*) from procrastinate_jobs where queue_name in ('b', 'd')), 0::bigint,
    'what was not is not there'
);
select ok(
    (select bool_and(g.job_id > h.job_id) from got as g join got as h on h.ordinal < g.ordinal),
    'ids rise in the order given'
);
update procrastinate_jobs set status = 'doing' where id = :holder;
select is(
    (
        select conflict from procrastinate_try_defer_jobs_v1(
            '{q}', '{t}', null, null, '{taken}', null, null
        )
    ),
    null, 'a job that runs is in nobody''s way'
);
select is_empty(
    $$
        select procrastinate_try_defer_jobs_v1('{}', '{}', '{}', '{}', '{}', '{}', '{}')
        union all
        select procrastinate_try_defer_jobs_v1(null, null, null, null, null, null, null)
    $$,
    'no job, no row'
);
select is(
    (
        select array_agg(d.ordinal order by d.ordinal)
        from procrastinate_try_defer_jobs_v1(
            array_fill('many'::text, array[500]), array_fill('t'::text, array[500]), null, null,
            array(select 'ql' || (n * 7919) % 50 from generate_series(1, 500) as n), null, null
        ) as d
        where d.job_id is not null
    ),
    array(select generate_series(1, 50)),
    'of many that want one queueing lock the first gets it'
);
-- Two batches of the same queueing locks meet in the same order: neither waits for the other
select procrastinate_try_defer_jobs_v1(
    '{q,q,q,q}', '{t,t,t,t}', null, null, '{z,taken now,a,taken now}', null, null
) \g /dev/null
select results_eq(
    $$
        select j.queueing_lock, j.priority
        from procrastinate_jobs as j join procrastinate_events as e on e.job_id = j.id
        where j.queueing_lock in ('z', 'taken now', 'a')
        order by e.id
    $$,
    $$values ('a', 0), ('taken now', 0), ('z', 0)$$,
    'jobs are written in the order of their queueing locks, with the defaults of a job'
);
create unique index users_own on procrastinate_jobs (task_name) where task_name like 'single%';
select is(
    error_of(
        $$select procrastinate_try_defer_jobs_v1(
            '{q,q}', '{single,single}', null, null, null, null, null
        )$$,
        'constraint'
    ),
    'users_own', 'a constraint of the user''s own is an error as ever'
);
select is_sound('conflicts leave the derived tables true');

select is(
    outcome_of(format('select procrastinate_try_defer_jobs_v1(%s)', r.arguments)),
    'PQ003', r.why
)
from (
    values
        ('''{q,null}'', ''{t,t}'', null, null, null, null, null', 'a job has a queue'),
        ('''{q,q}'', ''{t,null}'', null, null, null, null, null', 'and a task'),
        ('''{q,q}'', ''{t}'', null, null, null, null, null', 'one of each'),
        ('array[repeat(''q'', 129)], ''{t}'', null, null, null, null, null',
            'a queue name has at most 128 characters'),
        ('''{q}'', array[repeat(''t'', 129)], null, null, null, null, null', 'a task name, too'),
        ('''{q}'', ''{t}'', null, null, null, array[''[1]'']::jsonb[], null',
            'arguments are an object')
) as r (arguments, why);

select * from finish();
rollback;
