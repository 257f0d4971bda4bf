-- What a fetch from one queue must know before it reads jobs by their marks: the queue's
-- one priority, when the next delayed job falls due, and from which id to read those that
-- are ready again. No row where the queue is paused, or the marks do not know it.
--
-- In sql, so that it becomes part of the query that reads the jobs, with its snapshot.
create function _procrastinate_gate(p_queue text, p_marks bigint[])
returns table (priority integer, due timestamptz, again bigint)
language sql stable parallel safe
begin atomic
    select
        min(p.priority) as priority,
        (
            select t.scheduled_at
            from procrastinate_todo as t
            where t.state = 'd' and t.queue_name = p_queue
            order by t.scheduled_at
            limit 1
        ) as due,
        (
            select
                case
                    when count(*) >= 200 then '-9223372036854775808'::bigint
                    else least(p_marks[11], min(x.job_id))
                end
            from (
                select t.job_id
                from procrastinate_todo as t
                where t.state = 'a' and t.since >= p_marks[1]::text::xid8
                order by t.since
                limit 200  -- more than these: reading all is cheaper
            ) as x
        ) as again
    from procrastinate_priorities as p
    where
        p.queue_name = p_queue
        -- else of another server, before a restore
        and p_marks[1]::text::xid8 <= pg_snapshot_xmin(pg_current_snapshot())
        and not exists (
            select
            from procrastinate_queues as s
            where s.queue_name = p_queue and s.paused_at is not null
        )
    having count(*) = 1 and min(p.id) = p_marks[9];
end;

comment on function _procrastinate_gate(text, bigint[]) is
'Priority, next due time and mark of rows ready again, for a fetch from this one queue.';
