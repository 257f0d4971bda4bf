\ir ../setup.psql
select plan(23);

-- What belongs to a job goes with it -----------------------------------------------------------

select job from a_job('failed') \gset
select job as other from a_job('failed') \gset
insert into procrastinate_results (job_id, result) values (:job, '1'), (:other, '2');
insert into procrastinate_keys (key, job_id) values ('a key', :job);
insert into procrastinate_periodic_defers (task_name, defer_timestamp, job_id)
values ('tick', 1, :job), ('tick', 2, :other);
delete from procrastinate_jobs where id = :job;
select is(events_of(:job), '{}', 'the history of a deleted job goes');
select is((select count(*) from procrastinate_results where job_id = :job), 0::bigint, 'its result');
select is((select count(*) from procrastinate_keys where job_id = :job), 0::bigint, 'its key');
select results_eq(
    'select defer_timestamp, job_id from procrastinate_periodic_defers order by 1',
    format('values (1::bigint, null::bigint), (2, %s)', :other),
    'a periodic tick stays, without its job: it must not be deferred again'
);
select is(events_of(:other), '{deferred,started,failed}', 'what is another job''s stays');
select is(
    (select count(*) from procrastinate_results where job_id = :other), 1::bigint, 'all of it'
);

-- In every status ----------------------------------------------------------------------------------

select a.job
from unnest('{todo,doing,succeeded,failed,cancelled,aborted,asked_to_abort}'::text[]) as s (status)
cross join lateral a_job(s.status, p_queue_name => 'delete') as a \g /dev/null
select is(
    outcome_of($$delete from procrastinate_jobs where queue_name = 'delete'$$), 'ok',
    'a job may be deleted in any status'
);
select is_sound('deletes leave the derived tables true');
select is(
    outcome_of($$delete from procrastinate_jobs where queue_name = 'delete'$$), 'ok',
    'a DELETE of no row is no error'
);

-- Locks --------------------------------------------------------------------------------------------------

select job as head from a_job(p_queue_name => 'lock', p_lock => 'l', p_scheduled_at => 'infinity')
\gset
select job as next from a_job(p_queue_name => 'lock', p_lock => 'l') \gset
select is(fetched('{lock}'), '{}', 'the head of a lock, delayed, holds back the next');
delete from procrastinate_jobs where id = :head;
select is(fetched('{lock}'), array[:next]::bigint[], 'which may run when the head is deleted');
select job as last from a_job(p_queue_name => 'lock', p_lock => 'l') \gset
select is(fetched('{lock}'), '{}', 'a running job holds back the next');
delete from procrastinate_jobs where id = :next;
select is(fetched('{lock}'), array[:last]::bigint[], 'which may run when it is deleted');
select job from a_job(p_queueing_lock => 'gone') \gset
delete from procrastinate_jobs where id = :job;
select lives_ok(
    $$select a_job(p_queueing_lock => 'gone')$$, 'a deleted job frees its queueing lock'
);
insert into procrastinate_jobs (queue_name, task_name, lock)
select 'many', 'a_task', 'lock ' || (n % 500) from generate_series(1, 3000) as n;
select cardinality(fetched('{many}', 300)) \g /dev/null
delete from procrastinate_jobs where queue_name = 'many' and id % 2 = 0;
select is_sound('one DELETE of many jobs with many locks leaves the derived tables true');

-- Tables of users --------------------------------------------------------------------------------------

create table notes (job_id bigint references procrastinate_jobs on delete cascade, note text);
create table keeps (job_id bigint references procrastinate_jobs);
select job from a_job('doing', p_lock => 'noted') \gset
select job as other from a_job() \gset
insert into notes values (:job, 'x'), (:other, 'y');
delete from procrastinate_jobs where id = :job;
select is((select count(*) from notes), 1::bigint, 'a user''s foreign key may cascade');
insert into keeps values (:other);
select is(
    outcome_of(format('delete from procrastinate_jobs where id = %s', :other)), '23503',
    'or refuse'
);
select is(derived(:other), 'todo:ready', 'and then all is as it was');
select is_sound('foreign keys of users leave the derived tables true');
create function fixtures.meddle() returns trigger language plpgsql as $$
begin
    if old.task_name = 'chain' then
        delete from procrastinate_jobs where task_name = 'chained';
    elsif old.task_name = 'again' then
        insert into procrastinate_jobs (id, queue_name, task_name, lock)
        values (old.id, 'again', 'a_task', old.lock);
    end if;
    return null;
end $$;
insert into procrastinate_jobs (queue_name, task_name, lock)
values ('q', 'chain', 'c'), ('q', 'chained', 'c'), ('q', 'again', 'c'), ('q', 'last', 'c');
create trigger a_users_trigger after delete on procrastinate_jobs
for each row execute function fixtures.meddle();
delete from procrastinate_jobs where task_name in ('chain', 'again');
select is_sound('a user''s row trigger may delete other jobs, or insert this one again');
select is(
    (select count(*)::integer from procrastinate_todo where queue_name = 'again'), 1,
    'a job that was inserted again waits'
);
drop trigger a_users_trigger on procrastinate_jobs;

-- Who may write --------------------------------------------------------------------------------------

select a_role('deleter') as deleter \gset
grant select, delete on procrastinate_jobs to :deleter;
select job from a_job('doing', p_lock => 'mine') \gset
select is(
    outcome_of(format('delete from procrastinate_jobs where id = %s', :job), :'deleter'),
    'ok', 'a role that may DELETE jobs needs no right on what goes with them'
);
select is(events_of(:job), '{}', 'all of which goes');

select * from finish();
rollback;
