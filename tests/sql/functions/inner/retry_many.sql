\ir ../../setup.psql
select plan(5);

select job as failed from a_job('failed') \gset
select job as done from a_job('succeeded') \gset
select results_eq(
    format(
        $$select job_id, outcome from _procrastinate_retry_many(array[%s, %s], procrastinate_now())$$,
        :done, :failed
    ),
    format($$values (%s::bigint, 'retried'), (%s, 'busy')$$, :failed, :done),
    'a job that is not what it was when it was picked is reported and left'
);

-- A queueing lock that is taken at the last moment: by a trigger of a user's, here
create function fixtures.take_it() returns trigger language plpgsql as $$
begin
    insert into procrastinate_jobs (queue_name, task_name, queueing_lock) values ('q', 't', 'ql');
    return null;
end $$;
select job as plain from a_job('failed', p_queue_name => 'moment') \gset
select job as taken from a_job('failed', p_queue_name => 'moment', p_queueing_lock => 'ql') \gset
create trigger a_take_it after update on procrastinate_jobs
for each row when (new.queue_name = 'moment' and new.queueing_lock is null)
execute function take_it();
select results_eq(
    format(
        $$select job_id, outcome from _procrastinate_retry_many(array[%s, %s], procrastinate_now())$$,
        :plain, :taken
    ),
    format($$values (%s::bigint, 'retried'), (%s, 'queueing_lock_taken')$$, :plain, :taken),
    'one that loses its queueing lock at the last moment takes no other with it'
);
select is(events_of(:plain), '{deferred,started,failed,scheduled,retried}', 'which is retried once');
drop trigger a_take_it on procrastinate_jobs;

create unique index mine on procrastinate_jobs ((task_name)) where task_name = 'mine' and status = 'todo';
select a_job(p_task_name => 'mine') \g /dev/null
select job from a_job('failed', p_task_name => 'other') \gset
update procrastinate_jobs set task_name = 'mine' where id = :job;
select is(
    error_of(format('select _procrastinate_retry_many(array[%s], now())', :job), 'constraint'),
    'mine', 'an index of a user''s raises as it would'
);
select is_sound();

select * from finish();
rollback;
