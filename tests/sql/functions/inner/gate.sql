\ir ../../setup.psql
select plan(13);

select a_worker() as worker \gset
select job from a_job(p_priority => 7) \gset
select e.marks
from procrastinate_finish_and_fetch_v1(:worker, '{q}', 1, null, '{}', '{}', '{}', '{}') as e
where e.outcome = 'summary' \gset
select (:'marks'::bigint[])[11] as start \gset
create function fixtures.gate(p_marks bigint[], p_queue text default 'q')
returns text language sql volatile as $$
    select concat_ws(' ', g.priority, g.due, g.again)
    from _procrastinate_gate(p_queue, p_marks) as g
$$;
select is(gate(:'marks'), format('7 %s', :start), 'the priority, and where to read from');
select is(gate(:'marks', 'p'), null, 'nothing of a queue that the marks do not know');
select is(
    gate(array[9000000000000] || (:'marks'::bigint[])[2:]), null,
    'nor for the marks of another server'
);
select job as later from a_job(p_priority => 7, p_scheduled_at => '2999-01-02Z') \gset
select a_job(p_priority => 7, p_scheduled_at => '2999-01-01Z') as sooner \gset
set local timezone = 'UTC';
select is(
    gate(:'marks'), format('7 2999-01-01 00:00:00+00 %s', :start), 'when the next one falls due'
);
delete from procrastinate_jobs where scheduled_at is not null;
select job as due from a_job(p_priority => 7, p_scheduled_at => '2001-01-01Z') \gset
update procrastinate_todo set lock = 'l', state = 'b' where job_id = :due;
select is(gate(:'marks'), format('7 %s', :start), 'which is no job that was due and waits for its lock');
delete from procrastinate_jobs where id = :due;
select (:'marks'::bigint[])[:10] || 9000000000000 as marks \gset
select is(gate(:'marks'), '7 9000000000000', 'the mark of those ready again stays');
update procrastinate_jobs set status = 'todo' where id = :job;
select is(gate(:'marks'), format('7 %s', :job), 'lowered to what became so since');
insert into procrastinate_jobs (queue_name, task_name, status, priority)
select 'q', 't', 'failed', 7 from generate_series(1, 200);
update procrastinate_jobs set status = 'todo' where status = 'failed';
select is(gate(:'marks'), format('7 %s', :start), 'to the start, by many');
insert into procrastinate_queues (queue_name, paused_at) values ('q', procrastinate_now());
select is(gate(:'marks'), null, 'a paused queue has no gate');
update procrastinate_queues set paused_at = null;
select is(gate(:'marks'), format('7 %s', :start), 'one that is not paused, with its settings, has');
update procrastinate_queues set queue_name = 'p', paused_at = procrastinate_now();
select is(gate(:'marks'), format('7 %s', :start), 'and one beside a paused queue');
select (:'marks'::bigint[])[:8] || array[-4] || (:'marks'::bigint[])[10:] as others \gset
select is(gate(:'others'), null, 'but none whose priority the marks do not know');
select a_job(p_priority => 8) as high \gset
select is(gate(:'marks'), null, 'nor has one of two priorities');

select * from finish();
rollback;
