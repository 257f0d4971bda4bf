-- Whether a worker of this one queue may take the straight way, as the priority to read:
-- no row where there is more to be done than to claim the next jobs in line.
--
-- The queue is not paused and has used the one priority that the marks know, nothing fell
-- due, and nothing became ready again. In sql, so that it becomes part of the query that
-- reads the jobs, with its snapshot.
create function _procrastinate_straight(
    p_queue text, p_marks bigint[], p_now timestamptz
)
returns table (priority integer)
language sql stable parallel safe
begin atomic
    select p.priority
    from procrastinate_priorities as p
    where
        p.queue_name = p_queue
        and p.id = p_marks[4]
        and p.priority is not null
        and p_marks[1]::text::xid8 <= pg_snapshot_xmin(pg_current_snapshot())
        and not exists (
            select
            from procrastinate_priorities as x
            where x.queue_name = p_queue and x.id <> p_marks[4]
        )
        and not exists (
            select
            from procrastinate_queues as s
            where s.queue_name = p_queue and s.paused_at is not null
        )
        and not exists (
            select
            from procrastinate_todo as t
            where
                t.state = 'd'
                and t.queue_name = p_queue
                and t.scheduled_at <= p_now
        )
        and (  -- not exists(): that would drop the order by, and the index with it
            select t.since
            from procrastinate_todo as t
            where t.state = 'a' and t.since >= p_marks[1]::text::xid8
            order by t.since
            limit 1
        ) is null
        and (
            select t.job_id
            from procrastinate_todo as t
            where
                t.state = 'a'
                and t.queue_name = p_queue
                and t.priority = p.priority
                and t.job_id + 0 >= p_marks[6]
            order by t.job_id + 0
            limit 1
        ) is null;
end;

comment on function _procrastinate_straight(text, bigint[], timestamptz) is
'The one priority of this queue, where nothing but its next jobs is to be looked at.';
