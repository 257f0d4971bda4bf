\ir ../../setup.psql
select plan(17);

select job from a_job(p_lock => 'l', p_queue_name => 'r') \gset
select job as next from a_job(p_lock => 'l', p_queue_name => 'r') \gset
select is(procrastinate_reschedule_job(:job, '2999-01-01Z'), true, 'a waiting job gets another time');
select is(derived(:job), 'todo:delayed', 'it is put off');
select is(events_of(:job), '{deferred,scheduled}', 'with the event of a schedule');
select is(
    (select max(at) from procrastinate_events where job_id = :job), '2999-01-01Z'::timestamptz,
    'that carries the new time'
);
select is(fetched('{r}'), '{}', 'it holds back its lock meanwhile');
select is(
    procrastinate_reschedule_job(:job, procrastinate_now()), true, 'now is a time as well'
);
select is(fetched('{r}'), array[:job]::bigint[], 'a worker gets the job');

select job from a_job(p_scheduled_at => '2999-01-01Z', p_queue_name => 'n') \gset
select is(procrastinate_reschedule_job(:job, null), true, 'null is now');
select is(fetched('{n}'), array[:job]::bigint[], 'a worker gets the job');

select is(procrastinate_reschedule_job(a.job, '2999-01-01Z'), false, s || ' has no other time')
from unnest('{doing,succeeded,failed,cancelled,aborted}'::text[]) as s
cross join lateral a_job(s) as a;
select is(
    outcome_of($$select procrastinate_reschedule_job(-1, '2999-01-01Z')$$), 'PQ002',
    'an unknown job is an error'
);
select is(
    outcome_of($$select procrastinate_reschedule_job(null, '2999-01-01Z')$$), 'PQ002', 'as is null'
);
select is_sound('new times leave the derived tables true');

select * from finish();
rollback;
