\ir ../../setup.psql
select plan(12);

select results_eq(
    $$select * from procrastinate_defer_jobs_v3(
        '{q,q}', '{a,b}', '{}', '{}', '{}', '{}', '{}', array['{"key": "k"}', null]::jsonb[])$$,
    'values (100000::bigint), (100001)', 'ids come in the order given'
);
select results_eq(
    'select key, job_id from procrastinate_keys', $$values ('k', 100000::bigint)$$, 'the key is taken'
);
select is(
    error_of($$select procrastinate_defer_jobs_v3(
        '{q,q}', '{a,b}', '{}', '{}', '{}', '{}', '{}', '{null,"{\"key\": \"k\"}"}')$$, 'constraint'),
    'procrastinate_keys_pkey', 'another job cannot have it'
);
select is((select count(*) from procrastinate_jobs), 2::bigint, 'all or none');
update procrastinate_jobs set status = 'cancelled' where key = 'k';
select lives_ok(
    $$select procrastinate_defer_jobs_v3('{q}', '{a}', '{}', '{}', '{}', '{}', '{}', '{"{\"key\": \"k\"}"}')$$,
    'until the first is over'
);
select is_empty(
    $$select procrastinate_defer_jobs_v3('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')$$, 'none, none'
);
select is(outcome_of('select procrastinate_defer_jobs_v3(' || r.arguments || ')'), 'PQ003', r.why)
from (
    values
        ($$'{q}', '{a}', '{}', '{}', '{}', '{}', '{}', '{null,null}'$$, 'options of no job'),
        ($$'{q}', '{a}', '{}', '{}', '{}', '{}', '{}', '{"{\"k\": 1}"}'$$, 'an unknown option'),
        ($$'{q}', '{a}', '{}', '{l}', '{}', '{}', '{}', '{"{\"group_key\": \"g\"}"}'$$, 'lock and group'),
        ($$'{q}', '{null}', '{}', '{}', '{}', '{}', '{}', '{}'$$, 'no name')
) as r (arguments, why);

-- a group
select procrastinate_defer_jobs_v3(
    '{g,g,g,h}', '{a,b,c,d}', '{}', '{}', '{}', '{}',
    array[procrastinate_now() + interval '1 h', null, null, null],
    '{"{\"group_key\": \"x\"}","{\"group_key\": \"x\"}","{\"group_key\": \"x\"}","{\"group_key\": \"x\"}"}'
) \g /dev/null
select fetched('{g,h}') as fetched \gset
select results_eq(
    format('select task_name::text from procrastinate_jobs where id = any(%L) order by id', :'fetched'),
    $$values ('b'), ('d')$$,
    'of a group one runs, in each queue; one that is delayed holds nobody back'
);
select is_sound();

select * from finish();
rollback;
