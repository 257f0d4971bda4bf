\ir ../../setup.psql
select plan(16);

-- Here where it goes and where it does not; that all ways lead to the same jobs is told by
-- tests/python/sqllint/test_random_writers.py.
select a_worker() as worker \gset
insert into procrastinate_jobs (id, queue_name, task_name) values
    (901, 'q', 't'), (902, 'q', 't'), (903, 'q', 't'), (904, 'q', 't');
select e.marks
from procrastinate_finish_and_fetch_v1(:worker, '{q}', 1, null, '{}', '{}', '{}', '{}') as e
where e.outcome = 'summary' \gset
select is(status_of(901), 'doing', 'the general way gives marks');
-- the general way would say what it has seen: more than this
select array[pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1]
    || (:'marks'::bigint[])[2:] as marks \gset
-- the mark of a straight pick, which leaves the others as they are; null of another
create function fixtures.picked(
    p_limit integer, p_marks bigint[], p_queues text[] default '{q}'
)
returns text language sql volatile as $$
    select format(
        '%s %s', array(select i.id from unnest(p.o_job_ids) as i (id) order by i.id),
        case when p.o_marks[:9] = p_marks[:9] then p.o_marks[10]::text else 'general' end
    )
    from _procrastinate_pick_next(
        (select max(w.id) from procrastinate_workers as w), p_queues, p_limit, p_marks, null,
        procrastinate_now()
    ) as p
$$;
select is(picked(2, :'marks'), '{902,903} 904', 'with them there is a straight way');
select is(picked(2, :'marks', null), '{902,903} 904', 'also for a worker of all queues');
select is(picked(2, :'marks', '{q,r}'), '{902,903} general', 'but not of some');
select is(picked(9, :'marks'), '{902,903,904} general', 'where there are as many jobs');
select is(picked(1, null), '{902} general', 'for a worker that has marks');
select throws_ok(
    format('select _procrastinate_pick_next(-1, ''{q}'', 1, %L, null, now())', :'marks'), 'PQ004', null,
    'and that is registered'
);
insert into procrastinate_queues (queue_name, paused_at) values ('q', procrastinate_now());
select is(picked(1, :'marks'), '{} general', 'if the queue is not paused');
delete from procrastinate_queues;
update procrastinate_jobs set status = 'todo' where id = 901;
select is(picked(1, :'marks'), '{901} general', 'and nothing became ready again');
update procrastinate_jobs set status = 'cancelled' where id = 901;
select is(picked(1, :'marks'), '{902} 903', 'else it goes on');
select job as next from a_job(p_lock => 'l') \gset
select is(picked(3, :'marks'), '{902,903,904} 905', 'what has no lock is in the straight way');
select is(
    picked(4, :'marks'), format('{902,903,904,%s} general', :next), 'what has one is not'
);
select is(  -- only the other way keeps the time of the next scan, and finds jobs with locks
    (
        select p.o_marks[2] = (:'marks'::bigint[])[2]
        from _procrastinate_pick_next(:worker, '{q}', 4, :'marks'::bigint[] || 0::bigint, null, now()) as p
        where cardinality(p.o_job_ids) = 4
    ),
    true, 'where the last pick met locks there is another way, with them'
);
insert into procrastinate_jobs (queue_name, task_name) values ('r', 't');
select matches(picked(1, :'marks', null), 'general', 'nor if another queue was used');
select a_job(p_priority => 1) as high \gset
select matches(picked(1, :'marks'), 'general', 'a second priority is for the general way');
select is_sound();

select * from finish();
rollback;
