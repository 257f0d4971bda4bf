\ir ../../setup.psql
select plan(16);

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
select is_sound('all the while the derived tables are true');

select * from finish();
rollback;
