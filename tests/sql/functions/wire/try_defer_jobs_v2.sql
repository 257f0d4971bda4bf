\ir ../../setup.psql
select plan(7);

select procrastinate_defer_job('q', 't', key => 'k') as k \gset
select procrastinate_defer_job('q', 't', queueing_lock => 'l') as l \gset
select results_eq(
    $$select * from procrastinate_try_defer_jobs_v2(
        '{q,q,q,q,q}', '{a,b,c,d,e}', '{}', '{}', '{null,l,m,null,m}', '{}', '{}',
        '{"{\"key\": \"k\"}","{\"key\": \"b\"}","{\"key\": \"c\"}","{\"key\": \"c\"}",null}')$$,
    format($$values
        (1, null::bigint, 'k', 'key', %s::bigint), (2, null, 'l', 'queueing_lock', %s),
        (3, 100004, null, null, null), (4, null, 'c', 'key', 100004),
        (5, null, 'm', 'queueing_lock', 100004)$$, :k, :l),
    'each is told what is in its way, and whose it is'
);
select results_eq(
    'select task_name::text from procrastinate_jobs where id > 100001', $$values ('c')$$,
    'the others are deferred'
);
select results_eq(
    'select key from procrastinate_keys order by 1', $$values ('c'), ('k')$$,
    'a key that was taken for a job that could not be is free again'
);
select is_empty(
    $$select procrastinate_try_defer_jobs_v2('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')$$, 'none, none'
);
select is(outcome_of('select procrastinate_try_defer_jobs_v2(' || r.arguments || ')'), 'PQ003', r.why)
from (
    values
        ($$'{q}', '{a}', '{}', '{}', '{}', '{}', '{}', '{"{\"k\": 1}"}'$$, 'an unknown option'),
        ($$'{q}', '{null}', '{}', '{}', '{}', '{}', '{}', '{}'$$, 'no name')
) as r (arguments, why);
select is_sound();

select * from finish();
rollback;
