\ir ../../setup.psql
select plan(11);

-- Here where it goes and where it does not; that all ways lead to the same jobs is told by
-- tests/python/sqllint/test_random_writers.py.
select a_worker() as worker \gset
insert into procrastinate_jobs (id, queue_name, task_name) values
    (901, 'q', 't'), (902, 'q', 't'), (903, 'q', 't'), (904, 'q', 't');
select c.o_marks as marks
from _procrastinate_claim_jobs(:worker, '{q}', 1, null, null) as c \gset
select is(status_of(901), 'doing', 'the general way gives marks');
-- what this transaction itself has written looks like an arrival to it: say that it is not
select array[pg_snapshot_xmin(pg_current_snapshot())::text::bigint] || (:'marks'::bigint[])[2:]
as marks \gset
create function fixtures.claimed(p_worker bigint, p_limit integer, p_marks bigint[])
returns text language sql volatile as $$
    select format('%s to %s', c.o_job_ids, c.o_fresh)
    from _procrastinate_claim_fresh(p_worker, 'q', p_limit, p_marks) as c
$$;
select is(claimed(:worker, 2, :'marks'), '{902,903} to 904', 'with them it is a straight way');
select is(claimed(-1, 1, :'marks'), ' to ', 'for a worker that is registered');
select is(claimed(:worker, 1, null), ' to ', 'that has marks');
insert into procrastinate_queues (queue_name, paused_at) values ('q', procrastinate_now());
select is(claimed(:worker, 1, :'marks'), ' to ', 'if the queue is not paused');
delete from procrastinate_queues;
select a_job(p_scheduled_at => procrastinate_now() + interval '1 min') as delayed \gset
select travel('2 min') \g /dev/null
select is(claimed(:worker, 1, :'marks'), ' to ', 'and nothing fell due');
delete from procrastinate_jobs where scheduled_at is not null;
update procrastinate_jobs set status = 'todo' where id = 901;
select is(claimed(:worker, 1, :'marks'), ' to ', 'or became ready again');
update procrastinate_jobs set status = 'cancelled' where id = 901;
select is(claimed(:worker, 1, :'marks'), '{904} to 905', 'else it goes on');
select a_job(p_lock => 'l') \g /dev/null
select is(claimed(:worker, 1, :'marks'), ' to ', 'a job with a lock is for the general way');
select a_job(p_priority => 1) \g /dev/null
select is(claimed(:worker, 5, :'marks'), ' to ', 'as is a second priority');
select is_sound();

select * from finish();
rollback;
