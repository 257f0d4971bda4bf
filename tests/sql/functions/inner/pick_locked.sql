\ir ../../setup.psql
select plan(7);

select a_worker() as worker \gset
insert into procrastinate_jobs (id, queue_name, task_name, lock) values
    (901, 'q', 't', 'a'), (902, 'q', 't', null), (903, 'q', 't', 'b'), (904, 'q', 't', 'a');
create function fixtures.picked(
    p_jobs bigint[], p_locks text[], p_picked bigint[] default '{}', p_queue text default 'q'
)
returns bigint[] language sql volatile as $$
    select _procrastinate_pick_locked(
        (select max(w.id) from procrastinate_workers as w), p_queue, p_jobs, p_locks, p_picked,
        procrastinate_now()
    )
$$;
select is(picked('{901,903}', '{a,b}'), '{901,903}', 'the heads of their locks');
select is(picked('{901,902,903}', '{a,null,b}'), '{901,903}', 'those that have one');
select is(picked('{901,903}', '{a,b}', '{}', 'p'), '{}', 'not where they are another queue''s');
update procrastinate_todo set state = 'r' where job_id = 904;
select is(picked('{903,904}', '{b,a}'), '{}', 'nor one that is not the head');
select is(picked('{901,903}', '{a,b}', '{904}'), '{}', 'nor of a lock that goes to another here');
update procrastinate_todo set state = 'r' where job_id = 901;
delete from procrastinate_workers;
select is(picked('{903}', '{b}'), '{}', 'nor for a worker that is gone');
select is_sound();

select * from finish();
rollback;
