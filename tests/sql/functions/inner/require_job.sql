\ir ../../setup.psql
select plan(4);

select job from a_job() \gset
select is(outcome_of('select _procrastinate_require_job(' || :job || ')'), 'ok', 'a job that is there');
select is(outcome_of('select _procrastinate_require_job(-1)'), 'PQ002', 'one that is not');
select is(outcome_of('select _procrastinate_require_job(null)'), 'PQ002', 'null is none');
select matches(error_of('select _procrastinate_require_job(-1)'), '-1', 'the message names it');

select * from finish();
rollback;
