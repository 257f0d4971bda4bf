\ir ../../setup.psql
select plan(3);

select job as waits from a_job() \gset
select job as runs from a_job('doing') \gset
select job as done from a_job('succeeded') \gset
select results_eq(
    format(
        $$select job_id, outcome from _procrastinate_cancel_many(array[%s, %s, %s], false, true)$$,
        :done, :runs, :waits
    ),
    format(
        $$values (%s::bigint, 'deleted'), (%s, 'busy'), (%s, 'busy')$$, :waits, :runs, :done
    ),
    'a job that is not what it was when it was picked is reported and left'
);
select job as asked from a_job('asked_to_abort') \gset
select is(
    (select array_agg(outcome) from _procrastinate_cancel_many(array[:asked]::bigint[], true, false)),
    '{abort_requested}', 'a running job may be asked again'
);
select is(
    events_of(:asked), '{deferred,started,abort_requested}', 'which leaves no other event'
);

select * from finish();
rollback;
