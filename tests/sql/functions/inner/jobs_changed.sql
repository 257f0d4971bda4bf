\ir ../../setup.psql
select plan(3);

-- through the trigger: tests/sql/triggers/jobs_updated.sql
select is(
    outcome_of($$
        select _procrastinate_jobs_changed('{-1}', '{succeeded}', '{doing}', '{false}', '{q}', '{}')
    $$),
    'PQ001', 'what the state machine does not know is refused'
);
select is(
    outcome_of($$
        select _procrastinate_jobs_changed('{-1}', '{todo}', '{cancelled}', '{false}', '{q}', '{}')
    $$),
    'ok', 'of a job that is gone nothing is told'
);
select is_sound();

select * from finish();
rollback;
