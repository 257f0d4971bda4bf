\ir ../../setup.psql
select plan(5);

-- by whom: tests/sql/functions/wire/register_worker_v2.sql
select lives_ok('select _procrastinate_check_wire(null)', 'who says nothing is let in');
select lives_ok(
    $$select _procrastinate_check_wire('["fetch_jobs_v1", "heartbeat_v1"]')$$,
    'and who calls what is there'
);
select throws_ok(
    $$select _procrastinate_check_wire('["fetch_jobs_v9", "a_v1", "heartbeat_v1"]')$$, 'PQ008',
    'The worker calls what the schema does not have: a_v1, fetch_jobs_v9',
    'what is not there is named'
);
select is(outcome_of($$select _procrastinate_check_wire('"fetch_jobs_v1"')$$), 'PQ003', 'no list');
select is(outcome_of($$select _procrastinate_check_wire('[1]')$$), 'PQ003', 'no list of names');

select * from finish();
rollback;
