\ir ../../setup.psql
select plan(7);

select lives_ok($$select _procrastinate_check_tick('t', null, 1, 'q', null)$$, 'what can be meant passes');
select is(outcome_of('select _procrastinate_check_tick(' || r.arguments || ')'), 'PQ003', r.why)
from (
    values
        ($$null, '', 1, 'q', '{}'$$, 'a task has a name'),
        ($$'t', '', 1, null, '{}'$$, 'so has a queue'),
        ($$'t', '', null, 'q', '{}'$$, 'a tick has a time'),
        ($$'t', '', 1, 'q', '[]'$$, 'arguments have names'),
        ($$'t', repeat('x', 129), 1, 'q', '{}'$$, 'an id is not too long'),
        ($$repeat('x', 129), '', 1, 'q', '{}'$$, 'nor is a name')
) as r (arguments, why);

select * from finish();
rollback;
