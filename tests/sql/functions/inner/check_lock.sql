\ir ../../setup.psql
select plan(5);

select is(outcome_of(format('select _procrastinate_check_lock(%L)', l)), 'ok', 'this one can be')
from unnest(array[null, '', repeat('x', 2000)]) as l;
select is(outcome_of(format('select _procrastinate_check_lock(%L)', repeat('ü', 1001))),
    'PQ003', 'bytes are counted, not characters');
select matches(
    error_of(format('select _procrastinate_check_lock(%L)', repeat('x', 2001))),
    '2001 bytes: at most 2000', 'it says how many'
);

select * from finish();
rollback;
