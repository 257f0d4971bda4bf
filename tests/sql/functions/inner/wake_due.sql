\ir ../../setup.psql
select plan(7);

select job as a from a_job(p_scheduled_at => procrastinate_now() + interval '1 min') \gset
select job as b from a_job(p_scheduled_at => procrastinate_now() + interval '2 min') \gset
select job as other from a_job(
    p_scheduled_at => procrastinate_now() + interval '1 min', p_queue_name => 'other'
) \gset
select is(_procrastinate_wake_due('{q}'), false, 'nothing is due');
select is(derived(:a), 'todo:delayed', 'nothing is woken');
select travel('1 min') \g /dev/null
select is(_procrastinate_wake_due('{q}'), false, 'what is due');
select is(
    array[derived(:a), derived(:b), derived(:other)],
    '{todo:ready,todo:delayed,todo:delayed}', 'is woken, in these queues'
);
insert into procrastinate_jobs (queue_name, task_name, scheduled_at)
select 'many', 'a_task', procrastinate_now() + interval '1 s' from generate_series(1, 1500);
select travel('1 min') \g /dev/null
select is(_procrastinate_wake_due('{many}'), true, 'a call wakes so many and says that there is more');
select is(_procrastinate_wake_due('{many}'), false, 'the next one the rest');
select is_sound();

select * from finish();
rollback;
