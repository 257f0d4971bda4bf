\ir ../../setup.psql
select plan(9);

select is(outcome_of(format('select _procrastinate_check_args(%L)', a)), 'ok', coalesce(a, 'null') || ' passes')
from unnest(array['{}', '{"a": null}', null]) as a;
select is(outcome_of(format('select _procrastinate_check_args(%L)', a)), 'PQ003', a || ' does not')
from unnest(array['[]', '1', '"x"', 'true', 'null']) as a;
select matches(
    error_of($$select _procrastinate_check_args('[1]')$$), 'array', 'the message says what it is'
);

select * from finish();
rollback;
