\ir ../../setup.psql
select plan(4);

select job, worker from a_job('doing') \gset
select procrastinate_unregister_worker_v1(worker_id => :worker) \g /dev/null
select is_empty(
    format('select from procrastinate_workers where id = %s', :worker), 'a worker goes'
);
select results_eq(
    format('select status::text, worker_id from procrastinate_jobs where id = %s', :job),
    $$values ('doing', null::bigint)$$, 'what it ran stays in doing, without a worker'
);
select lives_ok('select procrastinate_unregister_worker_v1(-1)', 'an unknown one is no error');
select is_sound();

select * from finish();
rollback;
