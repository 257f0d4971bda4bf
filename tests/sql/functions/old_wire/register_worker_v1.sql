\ir ../../setup.psql
select plan(2);

select worker_id as worker from procrastinate_register_worker_v1() \gset
select results_eq(
    format('select last_heartbeat, queues from procrastinate_workers where id = %s', :worker),
    'values (procrastinate_now(), null::text[])', 'a worker is registered, and alive'
);
select isnt(
    (select worker_id from procrastinate_register_worker_v1()), :worker::bigint,
    'each has an id of its own'
);

select * from finish();
rollback;
