\ir ../setup.psql
select plan(4);

insert into procrastinate_periodic_defers (task_name, defer_timestamp) values ('t', 1);
select results_eq(
    'select periodic_id::text, job_id from procrastinate_periodic_defers',
    $$values ('', null::bigint)$$, 'no periodic id is the empty one'
);
prepare again as insert into procrastinate_periodic_defers (task_name, defer_timestamp)
values ('t', 1);
select is(outcome_of('execute again'), '23505', 'a tick is there once');
select is(
    error_of('execute again', 'constraint'), 'procrastinate_periodic_defers_unique',
    'by the name of 3.x'
);
select is(
    outcome_of($$
        insert into procrastinate_periodic_defers (task_name, defer_timestamp, periodic_id)
        values ('t', 1, 'other'), ('u', 1, ''), ('t', 2, '')
    $$),
    'ok', 'for each task, schedule and time'
);

select * from finish();
rollback;
