\ir ../../setup.psql
select plan(5);

select a_worker('10 s') as alive, a_worker('30.5 s') as dead \gset
select job from a_job('doing', p_worker => :dead) \gset
select set_eq(
    'select worker_id from procrastinate_prune_stalled_workers_v1(30.2)',
    format('values (%s::bigint)', :dead), 'workers with an older heartbeat go, and are named'
);
select set_eq(
    'select id from procrastinate_workers', format('values (%s::bigint)', :alive),
    'the others stay'
);
select results_eq(
    format('select status::text, worker_id from procrastinate_jobs where id = %s', :job),
    $$values ('doing', null::bigint)$$, 'what they ran stays in doing, without a worker'
);
select is_empty(
    'select procrastinate_prune_stalled_workers_v1(seconds_since_heartbeat => 30)', 'once'
);
select is_sound();

select * from finish();
rollback;
