\ir ../../setup.psql
select plan(12);

-- through both wires: tests/sql/functions/{wire,old_wire}/defer_periodic_job_*.sql
select isnt(
    _procrastinate_defer_periodic('t', '', 1, 'q', null, null, null, null, null), null,
    'a tick becomes a job'
);
select is(
    _procrastinate_defer_periodic('t', '', 1, 'q', null, null, null, null, null), null, 'once'
);
select results_eq(
    'select j.id from procrastinate_jobs as j',
    'select p.job_id from procrastinate_periodic_defers as p', 'which its tick remembers'
);

-- A worker lags behind the others
select procrastinate_defer_periodic_job_v3('t', '', tick, 'q', 0, null, null, '{}')
from generate_series(3, 5) as tick \g /dev/null
select is(
    _procrastinate_defer_periodic('t', '', tick, 'q', null, null, null, null, null), null,
    format('tick %s was deferred before a newer one came', tick)
)
from generate_series(1, 5, 2) as tick;
select isnt(
    _procrastinate_defer_periodic('t', '', 2, 'q', null, null, null, null, null), null,
    'one that nobody deferred is deferred late'
);
select is(
    procrastinate_defer_periodic_job_v2('q', null, null, 't', 0, '', 2, '{}'), null,
    'and once, too'
);
select results_eq(
    'select defer_timestamp, earlier from procrastinate_periodic_defers order by 1',
    $$values (2::bigint, '{}'::bigint[]), (5, '{4,3,1}')$$,
    'the last tick has those before it in its own row'
);
select _procrastinate_defer_periodic('t', '', 7, 'q', null, null, null, null, null) \g /dev/null
select results_eq(
    'select defer_timestamp, earlier from procrastinate_periodic_defers',
    $$values (7::bigint, '{5,4,3,2,1}'::bigint[])$$,
    'and the next one takes in all'
);

-- Down to a thousand: what is older counts as deferred
update procrastinate_periodic_defers
set earlier = array(select n from generate_series(2, 2000, 2) as n order by n desc)
where task_name = 't' \g /dev/null
update procrastinate_periodic_defers set defer_timestamp = 2002 where task_name = 't';
select _procrastinate_defer_periodic('t', '', 2004, 'q', null, null, null, null, null) \g /dev/null
select results_eq(
    $$
        select defer_timestamp, cardinality(earlier), earlier[1], earlier[1000]
        from procrastinate_periodic_defers
    $$,
    $$values (2004::bigint, 1000, 2002::bigint, 4::bigint)$$,
    'a thousand ticks are remembered'
);
select results_eq(
    $$
        select tick, _procrastinate_defer_periodic('t', '', tick, 'q', 0, null, null, null, null)
            is not null
        from unnest(array[2, 3, 4, 5]) as tick
    $$,
    $$values (2, false), (3, false), (4, false), (5, true)$$,
    'and none before them is deferred'
);

select * from finish();
rollback;
