\ir ../../setup.psql
select plan(10);

select a_worker() as worker \gset
select is(
    (procrastinate_fetch_job_v2(null, :worker)), null::procrastinate_fetched_job_v2,
    'where there is no job it is a row of nulls'
);
select job as low from a_job(p_queue_name => 'b', p_priority => 1) \gset
select job as high from a_job(p_queue_name => 'a', p_priority => 2, p_args => '{"n": 1}') \gset
select job as later from a_job(p_queue_name => 'a', p_scheduled_at => '2999-01-01Z') \gset
select results_eq(
    format('select id, queue_name::text, status::text, worker_id, args, attempts'
        ' from procrastinate_fetch_job_v2(null, %s)', :worker),
    format($$values (%s::bigint, 'a', 'doing', %s::bigint, '{"n": 1}'::jsonb, 0)$$,
        :high, :worker),
    'the first job comes whole, in doing, under its worker'
);
select is(events_of(:high), '{deferred,started}', 'its start is on record');
select is(
    (procrastinate_fetch_job_v2('{a}', :worker)).id, null, 'a delayed job is not fetched'
);
select is(
    (procrastinate_fetch_job_v2(target_queue_names => '{a,b}', p_worker_id => :worker)).id,
    :low::bigint, 'one of these queues'
);
select is((procrastinate_fetch_job_v2('{}', :worker)).id, null, 'no queue, no job');

-- the race that ends a worker on its own schema cannot be met here: a lock is never taken twice
select a_job('doing', p_lock => 'l') \g /dev/null
select job as waits from a_job(p_queue_name => 'l', p_lock => 'l') \gset
select is((procrastinate_fetch_job_v2('{l}', :worker)).id, null, 'a lock that is held is waited for');
update procrastinate_jobs set status = 'succeeded' where lock = 'l' and status = 'doing';
select is((procrastinate_fetch_job_v2('{l}', :worker)).id, :waits::bigint, 'until it is free');

select isnt(
    outcome_of('select procrastinate_fetch_job_v2(null, -77)'), 'ok',
    'a worker that is not registered is refused, as by the foreign key of 3.x'
);
select is_sound();

select * from finish();
rollback;
