-- Who holds each lock, and who waits for it.
create view procrastinate_locks as
select
    l.lock,
    d.job_id as holder,
    d.worker_id,
    d.started_at as held_since,
    w.last_heartbeat,
    (
        select t.job_id
        from procrastinate_todo as t
        where t.lock = l.lock
        order by t.priority desc, t.job_id
        limit 1
    ) as next_job,
    l.waiting
from (
    select x.lock, sum(x.waiting) as waiting
    from (
        select t.lock, count(*) as waiting
        from procrastinate_todo as t
        where t.lock is not null
        group by t.lock
        union all
        select h.lock, 0 as waiting
        from procrastinate_doing as h
        where h.lock is not null
    ) as x
    group by x.lock
) as l
left join procrastinate_doing as d on d.lock = l.lock
left join procrastinate_workers as w on w.id = d.worker_id;

comment on view procrastinate_locks is
'Per lock in use: the job that holds it, since when, the next job and how many wait.';
