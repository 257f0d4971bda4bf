-- What each queue does now, from the narrow tables, and how many jobs have ended, from
-- their running count.
create view procrastinate_overview as
select
    q.queue_name,
    coalesce(t.todo, 0) as todo,
    coalesce(d.doing, 0) as doing,
    coalesce(c.succeeded, 0) as succeeded,
    coalesce(c.failed, 0) as failed,
    coalesce(c.cancelled, 0) as cancelled,
    coalesce(c.aborted, 0) as aborted,
    coalesce(t.ready, 0) as ready,
    coalesce(t.delayed, 0) as delayed,
    coalesce(t.blocked, 0) as blocked,
    t.oldest_job_id as oldest_waiting,
    (
        select procrastinate_now() - greatest(max(e.at), j.scheduled_at)
        from procrastinate_events as e
        where e.job_id = j.id and e.type <> 'scheduled'
    ) as latency,
    t.next_due_at,
    s.paused_at is not null and coalesce(s.paused_until, 'infinity') > procrastinate_now()
    as paused,
    s.pause_reason
from (
    select p.queue_name from procrastinate_priorities as p
    union
    select x.queue_name from procrastinate_queues as x
    union
    select x.queue_name from procrastinate_counts as x
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
left join (
    select
        x.queue_name,
        sum(x.jobs) filter (where x.status = 'succeeded') as succeeded,
        sum(x.jobs) filter (where x.status = 'failed') as failed,
        sum(x.jobs) filter (where x.status = 'cancelled') as cancelled,
        sum(x.jobs) filter (where x.status = 'aborted') as aborted
    from procrastinate_counts as x
    group by x.queue_name
) as c on c.queue_name = q.queue_name
left join procrastinate_jobs as j on j.id = t.oldest_job_id
left join procrastinate_queues as s on s.queue_name = q.queue_name;

comment on view procrastinate_overview is
'Per queue: jobs by status, ready, delayed and blocked ones, '
'how long the oldest has waited.';
