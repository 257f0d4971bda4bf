\ir ../../setup.psql
select plan(5);

-- where purges end: tests/sql/functions/front/purge_jobs.sql
select procrastinate_defer_job('q', 't') from generate_series(1, 100) \g /dev/null
select min(id) as first, max(id) as last from procrastinate_jobs \gset
select is(
    _procrastinate_are_young(:last, procrastinate_now()), false,
    'there is no hundredth before it'
);
select procrastinate_defer_job('q', 't') as next \gset
select is(
    _procrastinate_are_young(:next, procrastinate_now()), true, 'both were deferred just now'
);
select is(
    _procrastinate_are_young(:next, procrastinate_now() + interval '1 second'), false,
    'not since a moment later'
);
update procrastinate_events set at = at - interval '1 day' where job_id = :first;
select is(
    _procrastinate_are_young(:next, procrastinate_now()), false, 'the hundredth is older'
);
delete from procrastinate_events where job_id = :first;
select is(
    _procrastinate_are_young(:next, procrastinate_now()), false, 'or has no history'
);

select * from finish();
rollback;
