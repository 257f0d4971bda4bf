\ir ../../setup.psql
select plan(9);

select a_worker() as worker \gset
select a_worker() as other \gset
select is(
    (select quiet from procrastinate_workers where id = :worker), false,
    'a worker that says nothing is to be told'
);
select procrastinate_set_quiet_v1(:worker, true) \g /dev/null
select results_eq(
    format('select id, quiet from procrastinate_workers where id in (%s, %s) order by id',
        :worker, :other),
    format('values (%s::bigint, true), (%s, false)', :worker, :other),
    'it is quiet when it says so, and no other is'
);
select ctid as before from procrastinate_workers where id = :worker \gset
select procrastinate_set_quiet_v1(:worker, true) \g /dev/null
select is(
    (select ctid::text from procrastinate_workers where id = :worker), :'before',
    'to say it again writes nothing'
);
select procrastinate_heartbeat_v1(:worker) \g /dev/null
select is(
    (select quiet from procrastinate_workers where id = :worker), true, 'a beat leaves it so'
);
select procrastinate_set_quiet_v1(:worker, false) \g /dev/null
select is(
    (select quiet from procrastinate_workers where id = :worker), false, 'until it takes it back'
);
select is(
    outcome_of(format('select procrastinate_set_quiet_v1(%s, null)', :worker)), 'PQ003',
    'it is one or the other'
);
select procrastinate_unregister_worker_v2(:worker) \g /dev/null
select is(
    outcome_of(format('select procrastinate_set_quiet_v1(%s, %L)', :worker, quiet)), 'PQ004',
    'a worker whose row is gone learns it'
)
from unnest(array[true, false]) as quiet;
select is(
    outcome_of('select procrastinate_set_quiet_v1(null, true)'), 'PQ004', 'null is no worker'
);

select * from finish();
rollback;
