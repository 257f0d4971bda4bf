\ir ../../setup.psql
select plan(5);

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
    outcome_of('select procrastinate_defer_periodic_job_v4(' || r.arguments || ')'), 'PQ003', r.why
)
from (
    values
        ($$'t', '', 2, 'q', 3, null, null, '{}', '{"x": 1}'$$, 'an unknown option'),
        ($$'t', '', null, 'q', 3, null, null, '{}', null$$, 'no time')
) as r (arguments, why);

select * from finish();
rollback;
