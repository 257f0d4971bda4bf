\ir ../../setup.psql
select plan(8);

set local procrastinate.now = '2030-01-01Z';
select procrastinate_register_worker_v2(
    'mailer', '{mail,sms}', '{"host": "a", "concurrency": 10}'
) as worker \gset
select results_eq(
    format($$
        select name, queues, description, last_heartbeat, started_at
        from procrastinate_workers where id = %s
    $$, :worker),
    $$values (
        'mailer', '{mail,sms}'::text[], '{"host": "a", "concurrency": 10}'::jsonb,
        '2030-01-01Z'::timestamptz, '2030-01-01Z'::timestamptz
    )$$,
    'a worker is registered with what it says of itself, and alive'
);
select isnt(
    procrastinate_register_worker_v2('mailer'), :worker::bigint, 'a name may be used by two workers'
);
select procrastinate_register_worker_v2() as worker \gset
select results_eq(
    format('select name, queues, description from procrastinate_workers where id = %s', :worker),
    $$values (null::text, null::text[], '{}'::jsonb)$$,
    'or say nothing'
);
select procrastinate_register_worker_v2(null, null, null) as worker \gset
select is(
    (select description from procrastinate_workers where id = :worker), '{}', 'a null is nothing'
);
select is(
    outcome_of($$select procrastinate_register_worker_v2('w', null, '[1]')$$), 'PQ003',
    'a description is an object'
);
select lives_ok(
    $$select procrastinate_register_worker_v2('w', null, '{"wire": ["fetch_jobs_v1"]}')$$,
    'a worker may say what it calls'
);
select is(
    outcome_of($$select procrastinate_register_worker_v2('w', null, '{"wire": ["gone_v1"]}')$$),
    'PQ008', 'what it calls is there'
);
select is(
    outcome_of($$select procrastinate_register_worker_v2('w', null, '{"wire": "gone_v1"}')$$),
    'PQ003', 'and is a list'
);

select * from finish();
rollback;
