\ir ../../setup.psql
select plan(8);

-- each condition, through the way that it opens: tests/sql/functions/inner/pick_next.sql
select a_worker() as worker \gset
select job from a_job(p_priority => 7) \gset
select e.marks
from procrastinate_finish_and_fetch_v1(:worker, '{q}', 1, null, '{}', '{}', '{}', '{}') as e
where e.outcome = 'summary' \gset
select is(
    (select s.priority from _procrastinate_straight('q', :'marks') as s),
    7, 'the priority to read'
);
select is_empty(
    $$select from _procrastinate_straight('p', '{1,2,3,4,5,6}')$$,
    'none of a queue that the marks do not know'
);
select is_empty(
    format(
        'select from _procrastinate_straight(''q'', %L)',
        array[9000000000000] || (:'marks'::bigint[])[2:]
    ),
    'none for the marks of another server'
);
insert into procrastinate_queues (queue_name) values ('q');
insert into procrastinate_queues (queue_name, paused_at) values ('p', procrastinate_now());
insert into procrastinate_jobs (queue_name, task_name, status) values ('r', 't', 'failed');
update procrastinate_jobs set status = 'todo' where queue_name = 'r';
select is(derived(id), 'todo:ready', 'in another queue a job is ready again')
from procrastinate_jobs where queue_name = 'r';
select is(
    (select s.priority from _procrastinate_straight('q', :'marks') as s),
    7, 'settings, and what another queue is like, close nothing'
);
select (:'marks'::bigint[])[:8] || array[-4] || (:'marks'::bigint[])[10:] as others \gset
select is_empty(
    format('select from _procrastinate_straight(''q'', %L)', :'others'),
    'a priority that the marks do not know does'
);
update procrastinate_queues set paused_at = procrastinate_now();
select is_empty(
    format('select from _procrastinate_straight(''q'', %L)', :'marks'), 'as does a pause'
);
select is_sound();

select * from finish();
rollback;
