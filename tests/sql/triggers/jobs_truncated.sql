\ir ../setup.psql
select plan(6);

create table keeps (job_id bigint references procrastinate_jobs);
select a.job
from unnest('{todo,doing,succeeded,failed,cancelled,aborted,asked_to_abort}'::text[]) as s (status)
cross join lateral a_job(s.status, p_lock => s.status) as a \g /dev/null
select job as other from a_job() \gset
select is(
    outcome_of('truncate procrastinate_jobs'), '0A000',
    'TRUNCATE is refused while a table of a user refers to jobs, as always'
);
select a_role('truncater') as truncater \gset
grant truncate on procrastinate_jobs to :truncater;
drop table keeps;
insert into procrastinate_results (job_id, result) values (:other, '2');
insert into procrastinate_periodic_defers (task_name, defer_timestamp, job_id)
values ('tick', 1, :other), ('tock', 2, null);
select is(
    outcome_of('truncate procrastinate_jobs', :'truncater'), 'ok', 'TRUNCATE is a writer, too'
);
select is(
    (select array[
        (select count(*) from procrastinate_todo), (select count(*) from procrastinate_doing),
        (select count(*) from procrastinate_events), (select count(*) from procrastinate_results),
        (select count(*) from procrastinate_keys),
        (select count(job_id) from procrastinate_periodic_defers)
    ]),
    array_fill(0::bigint, array[6]), 'after it nothing is left of any job'
);
select isnt(
    (select count(*) from procrastinate_periodic_defers), 0::bigint, 'but the ticks'
);
select is_sound('TRUNCATE leaves the derived tables true');
select job from a_job(p_lock => 'l') \gset
select is(derived(:job), 'todo:ready', 'and the queue works on');

select * from finish();
rollback;
