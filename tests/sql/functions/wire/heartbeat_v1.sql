\ir ../../setup.psql
select plan(4);

set local procrastinate.now = '2030-01-01Z';
select procrastinate_register_worker_v2('w', null, '{"run": "mine"}') as worker \gset
update procrastinate_workers set last_heartbeat = '2029-01-01Z' where id = :worker;
select job as a, claim as ca from a_job('doing', p_worker => :worker) \gset
select job as b, claim as cb from a_job('asked_to_abort', p_worker => :worker) \gset
select results_eq(
    format('select * from procrastinate_heartbeat_v1(%s, ''mine'')', :worker),
    format('values (%s::bigint, %s::bigint, false), (%s, %s, true)', :a, :ca, :b, :cb),
    'it hears of all claims that it holds'
);
select is(
    (select last_heartbeat from procrastinate_workers where id = :worker),
    '2030-01-01Z'::timestamptz, 'and has beaten'
);
select is(
    outcome_of(format('select procrastinate_heartbeat_v1(%s, ''another'')', :worker)), 'PQ004',
    'which run of a worker it is counts here, too'
);
select is(
    outcome_of(format('select procrastinate_heartbeat_v1(%s)', :worker)), 'ok',
    'unless it does not say'
);

select * from finish();
rollback;
