\ir ../../setup.psql
select plan(3);

select a_worker() as worker \gset
select job as a, claim as ca from a_job('doing', p_worker => :worker) \gset
select job as b, claim as cb from a_job('doing', p_worker => :worker) \gset
select results_eq(
    format(
        $$select * from procrastinate_retry_jobs_v2(
            %s, array[%s, %s, -1], array[%s, %s, 1], '{}', '{}', '{}', '{}',
            array['{"class": "B"}', '{"class": "A"}', '{"class": "C"}']::jsonb[])$$,
        :worker, :b, :a, :cb, :ca
    ),
    format($$values
        (-1::bigint, 'not_held', null::procrastinate_job_status), (%s, 'retried', 'todo'), (%s, 'retried', 'todo')
    $$, :a, :b),
    'each is told'
);
select results_eq(
    'select job_id, error from procrastinate_events where error is not null order by 1',
    format('values (%s::bigint, ''A''), (%s, ''B'')', :a, :b), 'and each has its own error'
);
select is_sound();

select * from finish();
rollback;
