\ir ../../setup.psql
select plan(10);

set local procrastinate.now = '2030-01-01Z';
select a_worker('1 hour') as worker \gset
select is_empty(
    format('select * from procrastinate_heartbeat_v1(%s)', :worker),
    'a worker that holds nothing hears of nothing'
);
select is(
    (select last_heartbeat from procrastinate_workers where id = :worker),
    '2030-01-01Z'::timestamptz, 'and has beaten'
);
select job as a, claim as ca from a_job('doing', p_worker => :worker) \gset
select job as b, claim as cb from a_job('asked_to_abort', p_worker => :worker) \gset
select a_job('doing') \g /dev/null
select a_job('succeeded', p_worker => :worker) \g /dev/null
select results_eq(
    format('select * from procrastinate_heartbeat_v1(%s)', :worker),
    format('values (%s::bigint, %s::bigint, false), (%s, %s, true)', :a, :ca, :b, :cb),
    'it hears which claims it holds, and which of them were asked to abort'
);
select procrastinate_register_worker_v2('w', null, '{"run": "mine"}') as named \gset
select is(
    outcome_of(format('select procrastinate_heartbeat_v1(%s, ''mine'')', :named)), 'ok',
    'a worker may say which run of it it is'
);
select is(
    outcome_of(format('select procrastinate_heartbeat_v1(%s, ''another'')', :named)), 'PQ004',
    'a row that another run has written is not its own'
);
select is(
    outcome_of(format('select procrastinate_heartbeat_v1(%s, ''mine'')', :worker)), 'PQ004',
    'nor is one that names none'
);
delete from procrastinate_workers where id = :worker;
select is(
    outcome_of(format('select procrastinate_heartbeat_v1(%s)', :worker)), 'PQ004',
    'a worker that was pruned hears that it is not registered'
);
select isnt(
    error_of(format('select procrastinate_heartbeat_v1(%s)', :worker), 'hint'), '',
    'and what to do'
);
select is(
    outcome_of('select procrastinate_heartbeat_v1(null)'), 'PQ004', 'null is no worker'
);
select is_sound('beats leave the derived tables true');

select * from finish();
rollback;
