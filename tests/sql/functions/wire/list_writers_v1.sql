\ir ../../setup.psql
select plan(4);

-- other sessions, and prepared transactions, write in tests/python/races/test_quiet.py
select is_empty(
    'select pid from procrastinate_list_writers_v1() where pid = pg_backend_pid()',
    'who has written nothing is no writer'
);
select count(*) from procrastinate_todo \g /dev/null
select job_id from procrastinate_todo for share \g /dev/null
select is_empty(
    'select pid from procrastinate_list_writers_v1() where pid = pg_backend_pid()',
    'nor is who reads'
);
savepoint before;
select a_job('todo') \g /dev/null
select results_eq(
    'select pid, virtual_transaction from procrastinate_list_writers_v1()
    where pid = pg_backend_pid()',
    $$select l.pid, l.virtualtransaction from pg_locks as l
    where l.pid = pg_backend_pid() and l.locktype = 'virtualxid'$$,
    'who has deferred a job is one, once'
);
rollback to before;
select is_empty(
    'select pid from procrastinate_list_writers_v1() where pid = pg_backend_pid()',
    'who takes it back is none any more'
);

select * from finish();
rollback;
