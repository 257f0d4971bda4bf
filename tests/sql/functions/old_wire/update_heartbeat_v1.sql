\ir ../../setup.psql
select plan(2);

select a_worker('1 hour') as worker, a_worker('1 hour') as other \gset
select procrastinate_update_heartbeat_v1(worker_id => :worker) \g /dev/null
select results_eq(
    'select id, procrastinate_now() - last_heartbeat from procrastinate_workers order by id',
    format($$values (%s::bigint, interval '0'), (%s, interval '1 hour')$$, :worker, :other),
    'a worker beats, for itself'
);
select lives_ok('select procrastinate_update_heartbeat_v1(-1)', 'an unknown one is no error');

select * from finish();
rollback;
