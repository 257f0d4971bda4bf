\ir ../../setup.psql
select plan(12);

select job from a_job() \gset
select is(procrastinate_abort_job(:job), true, 'a waiting job is cancelled');
select results_eq(
    format('select status::text, abort_requested, events_of(id) from procrastinate_jobs'
        ' where id = %s', :job),
    $$values ('cancelled', true, '{deferred,abort_requested,cancelled}'::text[])$$,
    'with the request left on record'
);
select job from a_job('doing') \gset
select is(procrastinate_abort_job(:job), true, 'a running one is asked to abort');
select results_eq(
    format('select status::text, abort_requested, events_of(id) from procrastinate_jobs'
        ' where id = %s', :job),
    $$values ('doing', true, '{deferred,started,abort_requested}'::text[])$$, 'and runs on'
);
select is(procrastinate_abort_job(:job), true, 'it may be asked again');
select is(procrastinate_abort_job(a.job), false, 'but not of one that is ' || s)
from unnest('{succeeded,failed,cancelled,aborted}'::text[]) as s
cross join lateral a_job(s) as a;
select is(procrastinate_abort_job(-1), false, 'or not there');
select is(outcome_of('select procrastinate_abort_job(null)'), 'ok', 'null is no job');
select is_sound('requests leave the derived tables true');

select * from finish();
rollback;
