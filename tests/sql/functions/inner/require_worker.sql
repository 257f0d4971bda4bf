\ir ../../setup.psql
select plan(3);

select a_worker() as worker \gset
select is(
    outcome_of('select _procrastinate_require_worker(' || :worker || ')'), 'ok',
    'a worker that is registered'
);
select is(outcome_of('select _procrastinate_require_worker(-1)'), 'PQ004', 'one that is not');
select is(outcome_of('select _procrastinate_require_worker(null)'), 'PQ004', 'null is none');

select * from finish();
rollback;
