\ir ../../setup.psql
select plan(8);

select a_worker() as worker \gset
select job as a, claim as ca from a_job('doing', p_worker => :worker) \gset
select job as b, claim as cb from a_job('doing', p_worker => :worker) \gset
select job as c, claim as cc from a_job('doing', p_worker => :worker) \gset
update procrastinate_jobs set max_attempts = 2 where id = :b;
select results_eq(
    format(
        $$select * from procrastinate_fail_jobs_v1(
            %s, array[%s, %s, %s, -1], array[%s, %s, %s, 1],
            array['{"class": "C"}', '{"class": "B"}', '{"class": "A"}', null]::jsonb[],
            '{true,false,false,false}')$$,
        :worker, :c, :b, :a, :cc, :cb, :ca
    ),
    format($$values
        (-1::bigint, 'not_held', null::procrastinate_job_status), (%s, 'failed', 'failed'),
        (%s, 'retried', 'todo'), (%s, 'failed', null)
    $$, :a, :b, :c),
    'the data of each job decides'
);
select results_eq(
    'select job_id, error from procrastinate_events where error is not null order by 1',
    format('values (%s::bigint, ''A''), (%s, ''B'')', :a, :b), 'and each has its own error'
);
select job as d, claim as cd from a_job('doing', p_worker => :worker) \gset
select results_eq(
    format($$select * from procrastinate_fail_jobs_v1(%s, '{%s}', '{%s}', '{}', '{null}')$$, :worker, :d, :cd),
    format($$values (%s::bigint, 'failed', 'failed'::procrastinate_job_status)$$, :d),
    'what nobody wants deleted stays'
);
select is_sound();
select is(outcome_of(format('select procrastinate_fail_jobs_v1(%s)', r.arguments)), 'PQ003', r.why)
from (
    values
        ($$null, '{1}', '{1}', '{}', '{}'$$, 'a worker has an id'),
        ($$1, '{1}', '{}', '{}', '{}'$$, 'a job has a claim'),
        ($$1, '{1}', '{null}', '{}', '{}'$$, 'that is not null')
) as r (arguments, why);
select is_empty($$select procrastinate_fail_jobs_v1(1, '{}', '{}', '{}', '{}')$$, 'none, none');

select * from finish();
rollback;
