\ir ../../setup.psql
select plan(3);

select is(outcome_of($$select _procrastinate_refuse_group('g')$$), 'PQ003', 'a group has a lock');
select is(
    error_of($$insert into procrastinate_jobs (queue_name, task_name, group_key) values ('q', 't', 'g')$$),
    'A job of the group "g" has no lock', 'also for who inserts jobs by plain statements'
);
select is(
    outcome_of($$insert into procrastinate_jobs (queue_name, task_name, group_key, lock) values ('q', 't', 'g', 'l')$$),
    'ok', 'who may give it one'
);

select * from finish();
rollback;
