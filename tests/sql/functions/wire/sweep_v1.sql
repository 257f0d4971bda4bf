\ir ../../setup.psql
select plan(26);

select results_eq(
    'select promoted, unlinked from procrastinate_sweep_v1()', 'values (0::bigint, 0::bigint)',
    'where all is well there is nothing to do'
);

-- A head that stands parked without a holder: what a finish in REPEATABLE READ may leave
select job as head from a_job(p_queue_name => 'lost', p_lock => 'lost') \gset
select job as next from a_job(p_queue_name => 'lost', p_lock => 'lost') \gset
select job as delayed from a_job(
    p_queue_name => 'lost', p_lock => 'later', p_scheduled_at => 'infinity'
) \gset
select job as holder from a_job('doing', p_lock => 'held') \gset
select job as held from a_job(p_queue_name => 'lost', p_lock => 'held') \gset
update procrastinate_todo set state = 'b' where queue_name = 'lost';
select isnt_empty('select from procrastinate_check()', 'check() tells of a lost head');
select is(
    (select promoted from procrastinate_sweep_v1()), 2::bigint, 'a sweep promotes lost heads'
);
select results_eq(
    format('select derived(x) from unnest(array[%s, %s, %s]) as x', :head, :delayed, :held),
    $$values ('todo:ready'), ('todo:delayed'), ('todo:blocked')$$,
    'each to what it should be, and none whose lock is held'
);
select is(fetched('{lost}'), array[:head]::bigint[], 'and it is fetched');
select is((select promoted from procrastinate_sweep_v1()), 0::bigint, 'once');
select is_sound('a sweep leaves the derived tables true');

insert into procrastinate_jobs (queue_name, task_name, lock)
select 'bound', 'a_task', 'lock ' || n from generate_series(1, 30) as n;
update procrastinate_todo set state = 'b' where queue_name = 'bound';
create function fixtures.sweep(p_times integer, p_max integer) returns bigint[]
language plpgsql as $$
declare v_done bigint[] := '{}';
begin
    for i in 1 .. p_times loop
        v_done := v_done || (select s.promoted from procrastinate_sweep_v1(p_max) as s);
    end loop;
    return v_done;
end $$;
create temp table swept as select unnest(sweep(8, 10)) as promoted;
select cmp_ok(
    (select max(promoted) from swept), '<=', 10::bigint, 'a call does so many and no more'
);
select is((select sum(promoted) from swept), 30::numeric, 'some calls find all there are');
select job from a_job(p_queue_name => 'empty', p_lock => '') \gset
update procrastinate_todo set state = 'b' where job_id = :job;
select sweep(3, 1000) \g /dev/null
select is(derived(:job), 'todo:ready', 'the empty lock is one, too');

-- Finished jobs of workers that are gone (3.x: ON DELETE SET NULL)
select job as ended, worker from a_job('succeeded') \gset
select job as stays from a_job('failed') \gset
select procrastinate_unregister_worker_v2(:worker) \g /dev/null
select isnt(
    (select coalesce(sum(unlinked), 0) from procrastinate_sweep_v1())
    + (select count(*) from procrastinate_jobs where id = :ended and worker_id is null),
    0::numeric, 'a sweep unlinks finished jobs from workers that are gone'
);
select results_eq(
    format(
        'select id, worker_id is null from procrastinate_jobs where id in (%s, %s) order by id',
        :ended, :stays
    ),
    format('values (%s::bigint, true), (%s, false)', :ended, :stays),
    'and not from those that live'
);
select is(events_of(:ended), '{deferred,started,succeeded}', 'which is no event');
select is(
    outcome_of('select procrastinate_sweep_v1(null)'), 'PQ003', 'how many jobs is not null'
);
select is(outcome_of('select procrastinate_sweep_v1(-1)'), 'PQ003', 'nor negative');

-- Step by step: each call goes on where the last one stopped, and begins anew at the end
delete from procrastinate_jobs;
select sweep(2, 1000) \g /dev/null
select is(procrastinate_sweep_v1(1)::text, '(0,0)', 'one job a call is enough');
insert into procrastinate_jobs (id, queue_name, task_name, status, worker_id)
select n, 'q', 'a_task', 'succeeded', case when n <> 5 then -1 end
from generate_series(1, 6) as n;
create function fixtures.linked() returns bigint[] language sql volatile as $$
    select coalesce(array_agg(j.id order by j.id), '{}') from procrastinate_jobs as j
    where j.worker_id = -1
$$;
select sweep(1, 1000) \g /dev/null  -- to the end, wherever it stood
update procrastinate_jobs set worker_id = -1 where id <> 5;
select is(procrastinate_sweep_v1(2)::text, '(0,2)', 'the first are unlinked');
select is(linked(), '{3,4,6}', 'those with the lowest ids');
update procrastinate_jobs set worker_id = -1 where id = 1;
select is(procrastinate_sweep_v1(2)::text, '(0,2)', 'then the next');
select is(linked(), '{1,6}', 'and nothing that was passed');
select is(procrastinate_sweep_v1(3)::text, '(0,1)', 'a job without a worker has no link to lose');
select is(procrastinate_sweep_v1(1)::text, '(0,1)', 'after the last one it is the first again');
select is(linked(), '{}', 'whatever its id');

select job as runs from a_job('doing') \gset
select job as waits from a_job() \gset
update procrastinate_jobs set worker_id = -1 where id in (:runs, :waits);
select sweep(2, 1000) \g /dev/null
select is(linked(), array[:runs, :waits]::bigint[], 'only what is finished is unlinked');
update procrastinate_jobs set worker_id = null where id in (:runs, :waits);

delete from procrastinate_jobs where status = 'succeeded';
select a_job('failed'), a_job('failed') \g /dev/null
select sweep(1, 1000) \g /dev/null
select results_eq(
    'select queue_name::text, status::text, jobs from procrastinate_counts',
    $$values ('q', 'failed', 2::bigint)$$,
    'the changes of the numbers of finished jobs are added up'
);
select is_sound('all the while the derived tables are true');

select * from finish();
rollback;
