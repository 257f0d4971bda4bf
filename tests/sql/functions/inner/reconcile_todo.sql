\ir ../../setup.psql
select plan(2);

set local session_replication_role = replica;
insert into procrastinate_jobs (id, queue_name, task_name, status, priority, scheduled_at, lock)
values
    (901, 'q', 't', 'todo', 3, null, null), (902, 'q', 't', 'todo', 0, '2999-01-01Z', null),
    (903, 'q', 't', 'todo', 0, null, 'l'), (904, 'q', 't', 'succeeded', 0, null, null);
set local session_replication_role = origin;
insert into procrastinate_todo (job_id, priority, state, queue_name)
values (904, 0, 'r', 'q'), (901, 1, 'r', 'other');
select _procrastinate_reconcile_todo('{901,902,903,904}') \g /dev/null
select results_eq(
    'select x, derived(x) from generate_series(901, 904) as x',
    $$values (901, 'todo:ready'), (902, 'todo:delayed'), (903, 'todo:blocked'), (904, null)$$,
    'each waiting job has its row, one with a lock blocked until its line was looked at'
);
select results_eq(
    'select queue_name::text, priority from procrastinate_todo where job_id = 901',
    $$values ('q', 3)$$, 'with its own values'
);

select * from finish();
rollback;
