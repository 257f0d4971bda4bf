\ir ../../setup.psql
select plan(20);

create function fixtures.picked(
    p_statuses text default '{todo,doing,failed}',
    p_queue_name text default null,
    p_task_name text default null,
    p_lock text default null,
    p_queueing_lock text default null,
    p_older_than interval default null,
    p_newer_than interval default null,
    p_job_ids bigint[] default null,
    p_all_jobs boolean default false,
    p_after_id bigint default 0,
    p_max_jobs integer default 100
) returns bigint[] language sql volatile as $$
    select _procrastinate_find_jobs(
        p_statuses::procrastinate_job_status[], p_queue_name, p_task_name, p_lock,
        p_queueing_lock, p_older_than, p_newer_than, p_job_ids, p_all_jobs, p_after_id, p_max_jobs
    )
$$;

select job as todo from a_job(p_queue_name => 'a', p_task_name => 't') \gset
select job as doing from a_job('doing', p_queue_name => 'a', p_lock => 'l') \gset
select job as failed from a_job('failed', p_queue_name => 'b', p_queueing_lock => 'ql') \gset
select job as other from a_job('succeeded', p_queue_name => 'a', p_task_name => 't') \gset

select is(
    picked(p_all_jobs => true), array[:todo, :doing, :failed]::bigint[],
    'all jobs of the statuses, by id'
);
select is(picked('{todo}', p_all_jobs => true), array[:todo]::bigint[], 'waiting ones');
select is(picked('{doing}', p_all_jobs => true), array[:doing]::bigint[], 'running ones');
select is(picked('{failed}', p_all_jobs => true), array[:failed]::bigint[], 'failed ones');
select is(picked(p_queue_name => 'a'), array[:todo, :doing]::bigint[], 'of a queue');
select is(picked(p_task_name => 't'), array[:todo]::bigint[], 'of a task');
select is(picked(p_lock => 'l'), array[:doing]::bigint[], 'with a lock');
select is(picked(p_queueing_lock => 'ql'), array[:failed]::bigint[], 'with a queueing lock');
select is(
    picked(p_queue_name => 'a', p_lock => 'l', p_task_name => 't'), '{}', 'all filters count'
);
select is(
    picked(p_job_ids => array[:other, :failed, :todo, 0]), array[:todo, :failed]::bigint[],
    'of some ids, if the status fits'
);
select is(
    picked(p_job_ids => array[:failed, :todo], p_after_id => :todo), array[:failed]::bigint[],
    'after an id'
);
select is(picked(p_all_jobs => true, p_after_id => :doing, p_max_jobs => 1),
    array[:failed]::bigint[], 'so many and no more');
select is(picked(p_all_jobs => true, p_max_jobs => 2),
    array[:todo, :doing]::bigint[], 'the first ones');

select travel('1 hour') \g /dev/null
select job as young from a_job(p_queue_name => 'a') \gset
select is(picked('{todo}', p_older_than => '30 min'), array[:todo]::bigint[], 'by age');
select is(picked('{todo}', p_newer_than => '30 min'), array[:young]::bigint[], 'the other way');
delete from procrastinate_events where job_id = :young;
select is(
    picked('{todo}', p_older_than => '30 min'), array[:todo, :young]::bigint[],
    'a job without history is old'
);
select is(picked('{todo}', p_newer_than => '30 min'), '{}', 'and not new');
select is(outcome_of('select picked()'), 'PQ003', 'no filter is an error');
select is(outcome_of(c), 'PQ003', 'nor is an age negative')
from unnest(array[
    'select picked(p_older_than => ''-1 min'')', 'select picked(p_newer_than => ''-1 min'')'
]) as c;

select * from finish();
rollback;
