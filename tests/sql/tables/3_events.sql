\ir ../setup.psql
select plan(2);

select job from a_job() \gset
insert into procrastinate_events (job_id) values (:job) returning id as event \gset
select results_eq(
    format('select type::text, at, attempt, by_worker_id, error from procrastinate_events where id = %s',
        :event),
    'values (null::text, now(), null::integer, null::bigint, null::text)',
    'type and what 3.x does not know may be null; at is now'
);
select is(outcome_of('insert into procrastinate_events default values'), '23502', 'a job is needed');

select * from finish();
rollback;
