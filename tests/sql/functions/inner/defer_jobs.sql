\ir ../../setup.psql
select plan(3);

select is(
    (
        select count(*) from _procrastinate_defer_jobs(
            '{q,q}', '{t,u}', null, null, null, null, null
        )
    ),
    2::bigint, 'whole arrays may be null: defaults'
);
select results_eq(
    'select task_name::text, priority, args from procrastinate_jobs order by id',
    $$values ('t', 0, '{}'::jsonb), ('u', 0, '{}')$$, 'in the order given'
);
select is(
    outcome_of($$
        select _procrastinate_defer_jobs('{q}', array[repeat('t', 129)], null, null, null, null, null)
    $$),
    'PQ003', 'bad ones are refused'
);

select * from finish();
rollback;
