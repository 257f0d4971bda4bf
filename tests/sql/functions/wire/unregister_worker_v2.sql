\ir ../../setup.psql
select plan(12);

select job, worker from a_job('doing', p_lock => 'l') \gset
select job as ended from a_job('succeeded', p_worker => :worker) \gset
select job as others, worker as other from a_job('doing') \gset
select is(procrastinate_unregister_worker_v2(:worker), true, 'a worker that is there goes');
select is_empty(
    format('select from procrastinate_workers where id = %s', :worker), 'and is gone'
);
select is(procrastinate_unregister_worker_v2(:worker), false, 'one that is not there does not');
select is(procrastinate_unregister_worker_v2(null), false, 'nor does null');
select results_eq(
    format('select id, status::text, worker_id from procrastinate_jobs where id in (%s, %s)'
        ' order by id', :job, :others),
    format($$values (%s::bigint, 'doing', null::bigint), (%s, 'doing', %s)$$,
        :job, :others, :other),
    'what it ran stays in doing, without a worker'
);
select is(
    (select worker_id from procrastinate_doing where job_id = :job), null, 'there as here'
);
select is(events_of(:job), '{deferred,started}', 'and no event says otherwise');
update procrastinate_workers set description = '{"run": "a"}' where id = :other;
select is(procrastinate_unregister_worker_v2(:other, 'b'), false, 'nor does another run''s');
select is(
    (select worker_id from procrastinate_jobs where id = :others), :other::bigint,
    'which keeps its jobs'
);
select a_worker() as third \gset
update procrastinate_workers set description = '{"run": "c"}' where id = :third;
select is(procrastinate_unregister_worker_v2(:other, 'c'), false, 'also if somebody else is that');
select is(procrastinate_unregister_worker_v2(:other, 'a'), true, 'its own does');
select is_sound('a worker that goes leaves the derived tables true');

select * from finish();
rollback;
