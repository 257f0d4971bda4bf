\ir ../../setup.psql
select plan(23);

select job from a_job(p_queue_name => 'mail') \gset
select job as other from a_job(p_queue_name => 'sms') \gset
select procrastinate_pause_queue('mail', 'the server is down') \g /dev/null
select results_eq(
    $$
        select queue_name::text, paused_at, pause_reason, paused_until
        from procrastinate_queues
    $$,
    $$values ('mail', procrastinate_now(), 'the server is down', null::timestamptz)$$,
    'a pause is on record'
);
select is(fetched('{mail}'), '{}', 'a worker of that queue gets nothing');
select is(fetched(null), array[:other]::bigint[], 'one of all queues what other queues have');
select isnt(procrastinate_defer_job('mail', 'send'), null, 'deferring goes on');
select is(derived(:job), 'todo:ready', 'its jobs stay where they are');
select job as running from a_job('doing', p_queue_name => 'mail') \gset
update procrastinate_jobs set status = 'succeeded' where id = :running;
select is(status_of(:running), 'succeeded', 'what runs may end');
select is(
    (procrastinate_fetch_job_v2('{mail}', a_worker())).id, null, 'a worker of 3.x waits as well'
);
select procrastinate_pause_queue('mail', 'still', procrastinate_now() + interval '1 min')
\g /dev/null
select results_eq(
    'select pause_reason, paused_until from procrastinate_queues',
    $$values ('still', procrastinate_now() + interval '1 min')$$, 'a second pause replaces the first'
);
select procrastinate_resume_queue('mail') \g /dev/null
select is((fetched('{mail}'))[1], :job::bigint, 'resumed, the queue is fetched from');
select lives_ok($$select procrastinate_resume_queue('mail')$$, 'twice does no harm');
select lives_ok($$select procrastinate_resume_queue('unknown')$$, 'nor does an unknown queue');
select is(
    (select count(*) from procrastinate_queues where paused_at is not null), 0::bigint,
    'nothing is paused any more'
);

select job from a_job(p_queue_name => 'nap') \gset
select procrastinate_pause_queue(
    queue_name => 'nap', until => procrastinate_now() + interval '1 min'
) \g /dev/null
select is(fetched('{nap}'), '{}', 'a pause that ends by itself');
select travel('1 min') \g /dev/null
select is(fetched('{nap}'), array[:job]::bigint[], 'ends by itself');
select procrastinate_pause_queue('nap', until => '2001-01-01Z') \g /dev/null
select job from a_job(p_queue_name => 'nap') \gset
select is(fetched('{nap}'), array[:job]::bigint[], 'one that has ended already is none');

select procrastinate_pause_queue('not yet') \g /dev/null
select job from a_job(p_queue_name => 'not yet') \gset
select is(fetched('{not yet}'), '{}', 'a queue may be paused before it has jobs');
update procrastinate_jobs set queue_name = 'mail' where id = :job;
select is(fetched('{mail}'), array[:job]::bigint[], 'a job that is moved away is fetched');

-- Its lock, meanwhile: a job in a paused queue holds back the others of its lock, as a delayed one does
select job as head from a_job(p_queue_name => 'not yet', p_lock => 'l') \gset
select job as next from a_job(p_queue_name => 'mail', p_lock => 'l') \gset
select is(fetched('{mail,not yet}'), '{}', 'the head of a lock in a paused queue holds it back');
select is_sound('pauses leave the derived tables true');

select is(
    outcome_of(format('select procrastinate_pause_queue(%L)', q)), 'PQ003',
    format('%s is no queue', coalesce(left(q, 9), 'null'))
)
from unnest(array[null, '', repeat('q', 129)]) as q;
select lives_ok(
    format('select procrastinate_pause_queue(%L)', repeat('🐘', 128)), 'such as 128 elephants'
);

select * from finish();
rollback;
