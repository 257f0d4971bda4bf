\ir ../../setup.psql
select plan(4);

-- Without triggers, so that nothing is derived yet
set local session_replication_role = replica;
insert into procrastinate_jobs (id, queue_name, task_name, status, lock, queueing_lock, worker_id)
values
    (901, 'q', 't', 'todo', 'l', 'ql', null), (902, 'q', 't', 'todo', 'l', null, null),
    (903, 'q', 't', 'doing', 'm', null, 7), (904, 'q', 't', 'todo', 'm', null, null),
    (905, 'q', 't', 'failed', 'n', null, null);
set local session_replication_role = origin;
insert into procrastinate_todo (job_id, priority, state, queue_name) values (905, 0, 'r', 'q');
insert into procrastinate_doing (job_id, priority) values (906, 0);
select _procrastinate_note_priority('q', 0) \g /dev/null
select _procrastinate_reconcile('{901,902,903,904,905,906}') \g /dev/null
select results_eq(
    'select x, derived(x) from generate_series(901, 906) as x',
    $$values (901, 'todo:ready'), (902, 'todo:blocked'), (903, 'doing'), (904, 'todo:blocked'),
        (905, null), (906, null)$$,
    'what is derived becomes what the jobs say'
);
select is((select worker_id from procrastinate_doing where job_id = 903), 7::bigint, 'all of it');
select is(outcome_of($$select _procrastinate_reconcile('{}')$$), 'ok', 'of no job nothing');

-- a second holder
set local session_replication_role = replica;
update procrastinate_jobs set status = 'doing' where id = 904;
set local session_replication_role = origin;
select is(
    outcome_of($$select _procrastinate_reconcile('{904}')$$), '23505',
    'two jobs of one lock in doing are refused'
);

select * from finish();
rollback;
