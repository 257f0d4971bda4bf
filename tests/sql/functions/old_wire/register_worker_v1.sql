\ir ../../setup.psql
select plan(3);

select worker_id as worker from procrastinate_register_worker_v1() \gset
select results_eq(
    format('select last_heartbeat, queues from procrastinate_workers where id = %s', :worker),
    'values (procrastinate_now(), null::text[])', 'a worker is registered, and alive'
);
select isnt(
    (select worker_id from procrastinate_register_worker_v1()), :worker::bigint,
    'each has an id of its own'
);
-- that it is all of 3.x's wire: tests/python/schema/test_removals.py
select is(
    (select description -> 'wire' ? 'fetch_job_v2' from procrastinate_workers where id = :worker),
    true, 'it is known to call what 3.x calls'
);

select * from finish();
rollback;
