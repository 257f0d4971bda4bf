\ir ../../setup.psql
select plan(18);

select is(outcome_of(format('select _procrastinate_check_args(%L)', a)), 'ok', coalesce(a, 'null') || ' passes')
from unnest(array['{}', '{"a": null}', null]) as a;
select is(outcome_of(format('select _procrastinate_check_args(%L)', a)), 'PQ003', a || ' does not')
from unnest(array['[]', '1', '"x"', 'true', 'null']) as a;
select matches(
    error_of($$select _procrastinate_check_args('[1]')$$), 'array', 'the message says what it is'
);


-- size ---------------------------------------------------------------------------------------

create function fixtures.of_size(p_bytes integer) returns jsonb language sql stable as $$
    select jsonb_build_object('a', repeat('x', p_bytes - pg_column_size('{"a": ""}'::jsonb)))
$$;
create table fixtures.bombs (args jsonb);
set local procrastinate.max_args_size = '100000';
select is(outcome_of(format('select _procrastinate_check_args(%L)', of_size(n))), s,
    n || ' bytes of 100000')
from (values (99999, 'ok'), (100000, 'ok'), (100001, 'PQ003')) as x (n, s);
insert into bombs (args) values (of_size(10000000));
select ok((select pg_column_size(args) < 200000 from bombs), 'stored, it is small');
select is(outcome_of('select _procrastinate_check_args(args) from bombs'), 'PQ003',
    'but what counts is what a worker gets');
set local procrastinate.max_args_size = '';
select is(outcome_of(
    'select _procrastinate_check_args(jsonb_object_agg(g::text, g)) '
    'from generate_series(1, 1000000) as g'), 'PQ003', 'a million keys');

-- depth --------------------------------------------------------------------------------------

create function fixtures.deep(p_levels integer) returns jsonb language sql stable as $$
    select (repeat('{"a":', p_levels) || '1' || repeat('}', p_levels))::jsonb
$$;
select is(outcome_of(format('select _procrastinate_check_args(deep(%s))', n)), s,
    n || ' levels of 500')
from (values (499, 'ok'), (500, 'ok'), (501, 'PQ003')) as x (n, s);

select * from finish();
rollback;
