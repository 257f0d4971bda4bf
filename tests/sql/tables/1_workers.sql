\ir ../setup.psql
select plan(3);

insert into procrastinate_workers default values returning id as worker \gset
select results_eq(
    format($$
        select last_heartbeat, started_at, name, queues, description, quiet
        from procrastinate_workers where id = %s
    $$, :worker),
    $$values (now(), now(), null::text, null::text[], '{}'::jsonb, false)$$,
    'a worker of 3.x registers with nothing, and is told of all'
);
select is(
    outcome_of('insert into procrastinate_workers (id) values (1)'), '428C9',
    'its id is given by the database'
);
select is(
    outcome_of('update procrastinate_workers set last_heartbeat = null'), '23502', 'it has beaten'
);

select * from finish();
rollback;
