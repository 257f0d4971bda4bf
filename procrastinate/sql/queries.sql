-- What 3.x published as procrastinate.sql.queries, for those who use it. Nothing here does.
-- Each text is another, so that a connector can tell them apart. Parameters: %(name)s.

-- defer_jobs --
-- Defer jobs, all or none; a row with the id of each
select id
from unnest(procrastinate_defer_jobs_v1(%(jobs)s::procrastinate_job_to_defer_v1[])) as id;

-- defer_periodic_job --
-- Defer a periodic job; id is null if that tick was taken
select procrastinate_defer_periodic_job_v2(
    %(queue)s, %(lock)s, %(queueing_lock)s, %(task_name)s, %(priority)s,
    %(periodic_id)s, %(defer_timestamp)s, %(args)s
) as id;

-- fetch_job --
-- Fetch the next job; nulls if there is none
select
    id, status, task_name, priority, lock, queueing_lock, args, scheduled_at, queue_name,
    attempts, worker_id
from procrastinate_fetch_job_v2(%(queues)s::varchar[], %(worker_id)s);

-- select_stalled_jobs_by_started --
-- List running jobs that started longer ago
select
    jobs.id, jobs.status, jobs.task_name, jobs.priority, jobs.lock, jobs.queueing_lock,
    jobs.args, jobs.scheduled_at, jobs.queue_name, jobs.attempts, jobs.worker_id,
    max(events.at) as started_at
from procrastinate_doing as doing
inner join procrastinate_jobs as jobs on doing.job_id = jobs.id
inner join procrastinate_events as events on jobs.id = events.job_id
where
    events.type = 'started'
    and (%(queue)s::varchar is null or jobs.queue_name = %(queue)s)
    and (%(task_name)s::varchar is null or jobs.task_name = %(task_name)s)
group by jobs.id
having max(events.at) < procrastinate_now() - %(nb_seconds)s * interval '1 second'
order by jobs.id;

-- select_stalled_jobs_by_heartbeat --
-- List running jobs whose worker is gone or has not beaten for longer
select
    jobs.id, jobs.status, jobs.task_name, jobs.priority, jobs.lock, jobs.queueing_lock,
    jobs.args, jobs.scheduled_at, jobs.queue_name, jobs.attempts, jobs.worker_id
from procrastinate_doing as doing
inner join procrastinate_jobs as jobs on doing.job_id = jobs.id
left join procrastinate_workers as workers on jobs.worker_id = workers.id
where
    (%(queue)s::varchar is null or jobs.queue_name = %(queue)s)
    and (%(task_name)s::varchar is null or jobs.task_name = %(task_name)s)
    and (
        workers.id is null
        or workers.last_heartbeat
        < procrastinate_now() - %(seconds_since_heartbeat)s * interval '1 second'
    )
order by jobs.id;

-- delete_old_jobs --
-- Delete finished jobs whose newest event is older
delete from procrastinate_jobs as jobs
where
    jobs.status = any(%(statuses)s::procrastinate_job_status[])
    and (%(queue)s::varchar is null or jobs.queue_name = %(queue)s)
    and (
        select max(events.at)
        from procrastinate_events as events
        where events.job_id = jobs.id
    ) < procrastinate_now() - %(nb_hours)s * interval '1 hour';

-- finish_job --
-- End a job
select procrastinate_finish_job_v1(%(job_id)s, %(status)s, %(delete_job)s);

-- cancel_job --
-- Cancel a waiting job, or ask a running one to abort; id is null if neither applied
select procrastinate_cancel_job_v1(%(job_id)s, %(abort)s, %(delete_job)s) as id;

-- get_job_status --
-- Status of a job
select status from procrastinate_jobs where id = %(job_id)s;

-- retry_job --
-- Put a running or failed job back
select procrastinate_retry_job_v2(
    %(job_id)s, %(retry_at)s, %(new_priority)s, %(new_queue_name)s, %(new_lock)s
);

-- listen_queue --
-- Formatted with str.format or the like
LISTEN {channel_name};

-- check_connection --
-- Whether the schema is there: null if not
select to_regclass('procrastinate_jobs')::text as check;

-- list_jobs --
-- List jobs
select
    id, queue_name, task_name, priority, lock, queueing_lock, args, status, scheduled_at,
    attempts, abort_requested, worker_id
from procrastinate_jobs
where
    (%(id)s::bigint is null or id = %(id)s)
    and (%(queue_name)s::varchar is null or queue_name = %(queue_name)s)
    and (%(task_name)s::varchar is null or task_name = %(task_name)s)
    and (%(status)s::procrastinate_job_status is null or status = %(status)s)
    and (%(lock)s::text is null or lock = %(lock)s)
    and (%(queueing_lock)s::text is null or queueing_lock = %(queueing_lock)s)
    and (%(worker_id)s::bigint is null or worker_id = %(worker_id)s)
order by id;

-- list_queues --
-- Jobs of each queue, by status
select
    queue_name as name,
    count(*) as jobs_count,
    jsonb_build_object(
        'todo', count(*) filter (where status = 'todo'),
        'doing', count(*) filter (where status = 'doing'),
        'succeeded', count(*) filter (where status = 'succeeded'),
        'failed', count(*) filter (where status = 'failed'),
        'cancelled', count(*) filter (where status = 'cancelled'),
        'aborted', count(*) filter (where status = 'aborted')
    ) as stats
from procrastinate_jobs
where
    (%(queue_name)s::varchar is null or queue_name = %(queue_name)s)
    and (%(task_name)s::varchar is null or task_name = %(task_name)s)
    and (%(status)s::procrastinate_job_status is null or status = %(status)s)
    and (%(lock)s::text is null or lock = %(lock)s)
group by queue_name
order by queue_name;

-- list_tasks --
-- Jobs of each task, by status
select
    task_name as name,
    count(*) as jobs_count,
    jsonb_build_object(
        'todo', count(*) filter (where status = 'todo'),
        'doing', count(*) filter (where status = 'doing'),
        'succeeded', count(*) filter (where status = 'succeeded'),
        'failed', count(*) filter (where status = 'failed'),
        'cancelled', count(*) filter (where status = 'cancelled'),
        'aborted', count(*) filter (where status = 'aborted')
    ) as stats
from procrastinate_jobs
where
    (%(queue_name)s::varchar is null or queue_name = %(queue_name)s)
    and (%(task_name)s::varchar is null or task_name = %(task_name)s)
    and (%(status)s::procrastinate_job_status is null or status = %(status)s)
    and (%(lock)s::text is null or lock = %(lock)s)
group by task_name
order by task_name;

-- list_locks --
-- Jobs of each lock, by status; those without a lock are left out
select
    lock as name,
    count(*)::numeric as jobs_count,
    jsonb_build_object(
        'todo', count(*) filter (where status = 'todo'),
        'doing', count(*) filter (where status = 'doing'),
        'succeeded', count(*) filter (where status = 'succeeded'),
        'failed', count(*) filter (where status = 'failed'),
        'cancelled', count(*) filter (where status = 'cancelled'),
        'aborted', count(*) filter (where status = 'aborted')
    ) as stats
from procrastinate_jobs
where
    lock is not null
    and (%(queue_name)s::varchar is null or queue_name = %(queue_name)s)
    and (%(task_name)s::varchar is null or task_name = %(task_name)s)
    and (%(status)s::procrastinate_job_status is null or status = %(status)s)
    and (%(lock)s::text is null or lock = %(lock)s)
group by lock
order by lock;

-- count_jobs_status --
-- Number of jobs in each status
select status, count(*) as count from procrastinate_jobs group by status;

-- list_jobs_to_abort --
-- Running jobs that were asked to abort
select jobs.id
from procrastinate_doing as doing
inner join procrastinate_jobs as jobs on doing.job_id = jobs.id
where
    jobs.abort_requested
    and (%(queue_name)s::varchar is null or jobs.queue_name = %(queue_name)s)
order by jobs.id;

-- register_worker --
-- A new worker
select worker_id from procrastinate_register_worker_v1();

-- unregister_worker --
-- A worker has ended
select procrastinate_unregister_worker_v1(%(worker_id)s);

-- update_heartbeat --
-- A worker lives
select procrastinate_update_heartbeat_v1(%(worker_id)s);

-- prune_stalled_workers --
-- Remove workers that have not beaten for longer
select worker_id from procrastinate_prune_stalled_workers_v1(%(seconds_since_heartbeat)s);
