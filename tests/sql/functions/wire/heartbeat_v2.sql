\ir ../../setup.psql
select plan(15);

set local procrastinate.now = '2030-01-01Z';
select a_worker('1 hour') as worker \gset
select is_empty(
    format('select * from procrastinate_heartbeat_v2(%s)', :worker),
    'a worker that holds nothing hears of nothing'
);
select is(
    (select last_heartbeat from procrastinate_workers where id = :worker),
    '2030-01-01Z'::timestamptz, 'and has beaten'
);
select job as a, claim as ca from a_job('doing', p_worker => :worker) \gset
select job as b, claim as cb from a_job('asked_to_abort', p_worker => :worker) \gset
select job as others from a_job('doing') \gset
select job as ended from a_job('succeeded', p_worker => :worker) \gset
select results_eq(
    format('select * from procrastinate_heartbeat_v2(%s)', :worker),
    format('values (%s::bigint, %s::bigint, false), (%s, %s, true)', :a, :ca, :b, :cb),
    'it hears which claims it holds, and which of them were asked to abort'
);
select results_eq(
    format('select * from procrastinate_heartbeat_v2(%s, null, ''{%s}'')', :worker, :b),
    format('values (%s::bigint, %s::bigint, true)', :b, :cb),
    'of the jobs that it names it hears which it holds'
);
select results_eq(
    format(
        'select job_id from procrastinate_heartbeat_v2(%s, null, ''{%s,%s,%s,null,%s,999999999}'')',
        :worker, :b, :others, :a, :a
    ),
    format('values (%s::bigint), (%s)', :a, :b),
    'once each in their order, not those of others, nor those that there are not'
);
select is_empty(
    format('select * from procrastinate_heartbeat_v2(%s, null, ''{%s}'')', :worker, :ended),
    'nor those that have ended'
);
update procrastinate_workers set last_heartbeat = '2029-01-01Z' where id = :worker;
select is_empty(
    format('select * from procrastinate_heartbeat_v2(%s, null, ''{}'')', :worker),
    'who names none hears of none'
);
select is(
    (select last_heartbeat from procrastinate_workers where id = :worker),
    '2030-01-01Z'::timestamptz, 'and has beaten'
);
select procrastinate_register_worker_v2('w', null, '{"run": "mine"}') as named \gset
select is(
    outcome_of(format('select procrastinate_heartbeat_v2(%s, ''mine'')', :named)), 'ok',
    'a worker may say which run of it it is'
);
select is(
    outcome_of(format('select procrastinate_heartbeat_v2(%s, ''another'')', :named)), 'PQ004',
    'a row that another run has written is not its own'
);
select is(
    outcome_of(format('select procrastinate_heartbeat_v2(%s, ''mine'')', :worker)), 'PQ004',
    'nor is one that names none'
);
delete from procrastinate_workers where id = :worker;
select is(
    outcome_of(format('select procrastinate_heartbeat_v2(%s)', :worker)), 'PQ004',
    'a worker that was pruned hears that it is not registered'
);
select isnt(
    error_of(format('select procrastinate_heartbeat_v2(%s)', :worker), 'hint'), '',
    'and what to do'
);
select is(
    outcome_of('select procrastinate_heartbeat_v2(null)'), 'PQ004', 'null is no worker'
);
select is_sound('beats leave the derived tables true');

select * from finish();
rollback;
