\ir ../../setup.psql
select plan(6);

create function fixtures.noted(p_queue text) returns integer[] language sql as $$
    select array_agg(p.priority order by p.priority nulls first)
    from procrastinate_priorities as p where p.queue_name = p_queue
$$;
select _procrastinate_note_priority('mail', 5) \g /dev/null
select _procrastinate_note_priority('mail', 5) \g /dev/null
select _procrastinate_note_priority('mail', -5) \g /dev/null
select _procrastinate_note_priority('sms', 5) \g /dev/null
select is(noted('mail'), '{-5,5}', 'each priority of a queue is noted once');
select is(noted('sms'), '{5}', 'each queue for itself');
select count(_procrastinate_note_priority('times', n)::text) from generate_series(1, 300) as n
\g /dev/null
select is(
    (noted('times'))[1], null, 'a queue that uses priorities as if they were times is marked'
);
select ok(cardinality(noted('times')) <= 101, 'and its priorities are not all listed');
insert into procrastinate_jobs (queue_name, task_name, priority)
select 'times', 'a_task', n from generate_series(200, 300) as n;
select is(
    fetched('{times}', 3),
    (
        select array_agg(id order by priority desc)
        from procrastinate_jobs where queue_name = 'times' and priority > 297
    ),
    'its jobs are fetched in their order all the same'
);
select is_sound();

select * from finish();
rollback;
