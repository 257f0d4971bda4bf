\ir ../../setup.psql
select plan(35);

create function fixtures.gate(p_job bigint, p_gate text) returns text language sql volatile as $$
    select case when e.open then 'open: ' else 'closed: ' end || e.detail
    from procrastinate_explain_job(p_job) as e where e.gate = p_gate
$$;

select a_worker() as worker \gset
select job from a_job(p_queue_name => 'free') \gset
select is_empty(
    format('select * from procrastinate_explain_job(%s) where not open', :job),
    'a job that may run waits for nothing'
);
select set_eq(
    format('select gate from procrastinate_explain_job(%s)', :job),
    $$values ('status'), ('schedule'), ('lock'), ('queue'), ('ahead'), ('workers')$$,
    'and has passed every gate'
);

select job from a_job(p_scheduled_at => '2999-01-01Z') \gset
select matches(gate(:job, 'schedule'), '^closed: .*2999', 'a delayed job waits for its time');
select job from a_job(p_scheduled_at => '2001-01-01Z') \gset
select matches(gate(:job, 'schedule'), '^open: .*2001', 'one that is due does not');

select job as holder from a_job('doing', p_lock => 'held') \gset
select job from a_job(p_lock => 'held') \gset
select matches(
    gate(:job, 'lock'), format('^closed: .*\m%s\M.*held', :holder),
    'a job whose lock is held is told who holds it'
);
select job as ahead from a_job(
    p_lock => 'line', p_queue_name => 'far', p_scheduled_at => '2999-01-01Z'
) \gset
select job from a_job(p_lock => 'line') \gset
select matches(
    gate(:job, 'lock'), format('^closed: .*\m%s\M.*far.*line.*2999', :ahead),
    'one that is not the next of its lock which job comes first, where and when'
);
select matches(gate(:ahead, 'lock'), '^open: .*line', 'the next of its lock waits for no other');

select procrastinate_pause_queue('paused', 'a reason', '2999-01-01Z') \g /dev/null
select job from a_job(p_queue_name => 'paused') \gset
select matches(
    gate(:job, 'queue'), '^closed: .*paused.*2999.*a reason',
    'a job in a paused queue is told since and until when, and why'
);
select procrastinate_resume_queue('paused') \g /dev/null
select matches(gate(:job, 'queue'), '^open:', 'not when it was resumed');
select procrastinate_pause_queue('beside', 'a reason', '2999-01-01Z') \g /dev/null
select matches(gate(:job, 'queue'), '^open:', 'nor of the pause of another queue');
insert into procrastinate_queues (queue_name, paused_at, paused_until)
values ('paused', procrastinate_now(), procrastinate_now() - interval '1 s')
on conflict (queue_name) do update
set paused_at = excluded.paused_at, paused_until = excluded.paused_until;
select matches(gate(:job, 'queue'), '^open:', 'nor of one that has ended');

select a.job from a_job(p_queue_name => 'line', p_priority => 1) as a
cross join generate_series(1, 1) \g /dev/null
select job from a_job(p_queue_name => 'line') \gset
select matches(gate(:job, 'ahead'), '^closed: 1 ', 'a job hears how many come before it');
select job as due from a_job(
    p_queue_name => 'line', p_priority => 1,
    p_scheduled_at => procrastinate_now() + interval '1 min'
) \gset
select matches(gate(:job, 'ahead'), '^closed: 1 ', 'a delayed one does not');
select travel('2 min') \g /dev/null
select matches(
    gate(:job, 'ahead'), '^closed: 2 ', 'one that fell due does, though no fetch has met it'
);
select travel('0') \g /dev/null
delete from procrastinate_jobs where id = :due;

update procrastinate_workers set queues = '{other}';
select matches(gate(:job, 'workers'), '^closed: 0', 'and that no worker serves its queue');
update procrastinate_workers set queues = '{line}', last_heartbeat = procrastinate_now();
select matches(gate(:job, 'workers'), '^open:', 'or that one does');
update procrastinate_workers set last_heartbeat = procrastinate_now() - interval '1 hour';
select matches(gate(:job, 'workers'), '^closed: 0', 'and lives');

update procrastinate_workers set last_heartbeat = procrastinate_now() where id = :worker;
select :job as next \gset
select job from a_job('doing', p_worker => :worker) \gset
select matches(
    gate(:job, 'worker'), format('^open: .*\m%s\M', :worker), 'a running job is told its worker'
);
select travel('1 hour') \g /dev/null
select matches(gate(:job, 'worker'), '^closed:', 'whose heartbeat may have stopped');
update procrastinate_workers set last_heartbeat = procrastinate_now() - interval '30 seconds'
where id = :worker;
select matches(gate(:job, 'worker'), '^closed:', 'that is for 30 seconds');
select matches(gate(:next, 'workers'), '^closed: 0', 'and such a worker serves no queue');
update procrastinate_workers
set last_heartbeat = procrastinate_now() - interval '29 seconds', queues = null
where id = :worker;
select matches(gate(:job, 'worker'), '^open:', 'a second less is not silent');
select matches(gate(:next, 'workers'), '^open: 1', 'and serves all queues if it was given none');
select procrastinate_unregister_worker_v2(:worker) \g /dev/null
select matches(
    gate(:job, 'worker'), '^closed: .*recover', 'or which may be gone, and then what to do'
);

select set_has(
    format('select detail from procrastinate_explain_job(%s) where gate = ''history''', a.job),
    format('select format(''%%s at %%s'', type, at) from procrastinate_events where job_id = %s',
        a.job),
    s || ' jobs show their history'
)
from unnest('{succeeded,failed,cancelled,aborted}'::text[]) as s
cross join lateral a_job(s) as a;
select a.job as failed from a_job('failed') as a \gset
update procrastinate_events set error = 'of another' where job_id <> :failed;
update procrastinate_events set error = 'its own' where job_id = :failed and type = 'failed';
select results_eq(
    format($$
        select split_part(detail, ' ', 1), substring(detail from '[a-z ]+$')
        from procrastinate_explain_job(%s) where gate = 'history'
    $$, :failed),
    $$values ('deferred', null), ('started', null), ('failed', ' its own')$$,
    'in its order, each with the error that it had and no other'
);
select matches(gate(a.job, 'status'), '^closed: .*' || s, 'and their status')
from unnest('{succeeded,failed,cancelled,aborted}'::text[]) as s
cross join lateral a_job(s) as a;

select is(outcome_of('select procrastinate_explain_job(-1)'), 'PQ002', 'an unknown job is an error');
select is(outcome_of('select procrastinate_explain_job(null)'), 'PQ002', 'as is null');

select * from finish();
rollback;
