\ir ../../setup.psql
select plan(36);

-- cancel -----------------------------------------------------------------------------------------------

select job from a_job() \gset
select is(procrastinate_cancel_job(:job), true, 'a waiting job is cancelled');
select results_eq(
    format($$select status::text, abort_requested, attempts from procrastinate_jobs
        where id = %s$$, :job),
    $$values ('cancelled', false, 0)$$, 'and says so'
);
select is(events_of(:job), '{deferred,cancelled}', 'as does its history');
select is(procrastinate_cancel_job(:job), false, 'once');

select is(procrastinate_cancel_job(a.job), false, s || ' is not cancelled')
from unnest('{doing,succeeded,failed,cancelled,aborted}'::text[]) as s
cross join lateral a_job(s) as a;
select is(procrastinate_cancel_job(a.job, true), false, s || ' is not aborted either')
from unnest('{succeeded,failed,cancelled,aborted}'::text[]) as s
cross join lateral a_job(s) as a;
select is(procrastinate_cancel_job(-1), false, 'nor is a job that is not there');
select is(procrastinate_cancel_job(null), false, 'nor null');
select is(procrastinate_cancel_job(-1, true, true), false, 'in any way');

-- delete_job ---------------------------------------------------------------------------------------------

select job from a_job() \gset
select is(
    procrastinate_cancel_job(job_id => :job, delete_job => true), true,
    'a waiting job may be deleted instead'
);
select is(status_of(:job), null, 'and is gone');
select is(events_of(:job), '{}', 'with its history');
select job from a_job('doing') \gset
select is(
    procrastinate_cancel_job(:job, delete_job => true), false, 'a running one is not deleted'
);
select is(derived(:job), 'doing', 'it runs on');
select job from a_job() \gset
select procrastinate_cancel_job(:job, true, true) \g /dev/null
select is(status_of(:job), null, 'a waiting job is deleted, abort or not');

-- abort -------------------------------------------------------------------------------------------------

select job from a_job('doing') \gset
select is(procrastinate_cancel_job(:job, abort => true), true, 'a running job is asked to abort');
select results_eq(
    format('select status::text, abort_requested from procrastinate_jobs where id = %s', :job),
    $$values ('doing', true)$$, 'and runs until it does'
);
select is(events_of(:job), '{deferred,started,abort_requested}', 'the request is on record');
select is(procrastinate_cancel_job(:job, true), true, 'it may be asked again');
select is(events_of(:job), '{deferred,started,abort_requested}', 'which leaves one event');
select job from a_job('doing') \gset
select is(
    procrastinate_cancel_job(:job, true, true), true, 'a running job is asked, and not deleted'
);
select is(status_of(:job), 'doing', 'it runs');

select job from a_job() \gset
select is(procrastinate_cancel_job(:job, abort => true), true, 'a waiting job is cancelled');
select results_eq(
    format('select status::text, abort_requested from procrastinate_jobs where id = %s', :job),
    $$values ('cancelled', true)$$, 'with the request left on record'
);
select is(events_of(:job), '{deferred,abort_requested,cancelled}', 'as in 3.x');
-- What it frees ----------------------------------------------------------------------------------------

select job as head from a_job(
    p_queue_name => 'lock', p_lock => 'l', p_queueing_lock => 'ql', p_scheduled_at => 'infinity'
) \gset
select job as next from a_job(p_queue_name => 'lock', p_lock => 'l') \gset
select is(fetched('{lock}'), '{}', 'a head holds back its lock');
select procrastinate_cancel_job(:head) \g /dev/null
select is(fetched('{lock}'), array[:next]::bigint[], 'cancelled, it lets the next one run');
select lives_ok($$select a_job(p_queueing_lock => 'ql')$$, 'and another wait in its place');
select is_sound('cancellations leave the derived tables true');

select * from finish();
rollback;
