\ir ../../setup.psql
select plan(4);

select job from a_job() \gset
select results_eq(
    format('select * from procrastinate_watch_job(job_id => %s)', :job),
    $$values ('procrastinate_ended_v1', 'todo'::procrastinate_job_status, false)$$, 'a job that waits'
);
select job from a_job('doing') \gset
select is((select w.over from procrastinate_watch_job(:job) as w), false, 'one that runs');
select job from a_job('cancelled') \gset
select is((select w.over from procrastinate_watch_job(:job) as w), true, 'one that is over');
select is(outcome_of('select procrastinate_watch_job(-1)'), 'PQ002', 'no job, nothing to watch');

select * from finish();
rollback;
