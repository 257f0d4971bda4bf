\ir ../../setup.psql
select plan(11);

select job from a_job(p_queue_name => 'mail') \gset
select lives_ok(
    $$select procrastinate_resume_queue('mail')$$, 'a queue that is not paused may be resumed'
);
select procrastinate_pause_queue('mail', 'a reason', '2999-01-01Z') \g /dev/null
select procrastinate_pause_queue('other') \g /dev/null
select is(fetched('{mail}'), '{}', 'a paused queue is not fetched from');
select procrastinate_resume_queue(queue_name => 'mail') \g /dev/null
select is(fetched('{mail}'), array[:job]::bigint[], 'a resumed one is, at once');
select results_eq(
    $$
        select queue_name::text, paused_at is null, pause_reason, paused_until
        from procrastinate_queues where queue_name = 'mail'
    $$,
    $$values ('mail', true, null::text, null::timestamptz)$$,
    'nothing is left of the pause'
);
select job from a_job(p_queue_name => 'other') \gset
select is(fetched('{other}'), '{}', 'another queue stays paused');

-- what fell due, and what its lock let go meanwhile, is fetched after the pause
select procrastinate_pause_queue('mail') \g /dev/null
select job as due from a_job(
    p_queue_name => 'mail', p_scheduled_at => procrastinate_now() + interval '1 min'
) \gset
select job as holder from a_job('doing', p_lock => 'l', p_queue_name => 'mail') \gset
select job as next from a_job(p_lock => 'l', p_queue_name => 'mail') \gset
update procrastinate_jobs set status = 'succeeded' where id = :holder;
select travel('2 min') \g /dev/null
select is(fetched('{mail}'), '{}', 'nothing is fetched');
select procrastinate_resume_queue('mail') \g /dev/null
select is(fetched('{mail}'), array[:due, :next]::bigint[], 'all that may run is');
select is_sound('pauses leave the derived tables true');

select is(
    outcome_of(format('select procrastinate_resume_queue(%L)', q)), 'PQ003',
    format('%s is no queue', coalesce(left(q, 9), 'null'))
)
from unnest(array[null, '', repeat('q', 129)]) as q;

select * from finish();
rollback;
