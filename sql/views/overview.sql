-- What each queue does now, from the narrow tables. Finished jobs are many and counted nowhere
-- but in their own table: see procrastinate_jobs for totals.
create view procrastinate_overview as
select
    q.queue_name,
    coalesce(t.todo, 0) as todo,
    coalesce(t.ready, 0) as ready,
    coalesce(t.delayed, 0) as delayed,
    coalesce(t.blocked, 0) as blocked,
    coalesce(d.doing, 0) as doing,
    t.oldest_job_id,
    t.next_due_at,
    s.paused_at is not null and coalesce(s.paused_until, 'infinity') > procrastinate_now()
    as paused,
    s.pause_reason
from (
    select p.queue_name from procrastinate_priorities as p
    union
    select x.queue_name from procrastinate_queues as x
) as q
left join (
    select
        x.queue_name,
        count(*) as todo,
        count(*) filter (where x.state in ('r', 'a')) as ready,
        count(*) filter (where x.state = 'd') as delayed,
        count(*) filter (where x.state = 'b') as blocked,
        min(x.job_id) filter (where x.state in ('r', 'a')) as oldest_job_id,
        min(x.scheduled_at) filter (where x.state = 'd') as next_due_at
    from procrastinate_todo as x
    group by x.queue_name
) as t on t.queue_name = q.queue_name
left join (
    select j.queue_name, count(*) as doing
    from procrastinate_doing as x
    join procrastinate_jobs as j on j.id = x.job_id
    group by j.queue_name
) as d on d.queue_name = q.queue_name
left join procrastinate_queues as s on s.queue_name = q.queue_name;
