\ir ../../setup.psql
select plan(8);

select isnt(
    procrastinate_defer_periodic_job_v4('t', '', 1, 'q', 3, null, null, '{}', '{"timeout": 5}'), null,
    'a tick becomes a job'
);
select results_eq(
    'select priority, timeout from procrastinate_jobs', $$values (3, interval '5 s')$$, 'with its options'
);
select is(
    procrastinate_defer_periodic_job_v4('t', '', 1, 'q', 3, null, null, '{}', null), null, 'once'
);
select is(
    procrastinate_defer_periodic_job_v4('t', r.periodic_id, 3, 'q', 3, null, null, '{}', null) is null, r.taken, r.why
)
from (
    values (null, false, 'no name is a name'), ('', true, 'the empty one'), ('x', false, 'and another one is another')
) as r (periodic_id, taken, why);
select is(
    outcome_of('select procrastinate_defer_periodic_job_v4(' || r.arguments || ')'), 'PQ003', r.why
)
from (
    values
        ($$'t', '', 2, 'q', 3, null, null, '{}', '{"x": 1}'$$, 'an unknown option'),
        ($$'t', '', null, 'q', 3, null, null, '{}', null$$, 'no time')
) as r (arguments, why);

select * from finish();
rollback;
