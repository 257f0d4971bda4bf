-- Whether a worker of this one queue may take the straight way, as the priority to read:
-- null where there is more to be done than to claim the next jobs in line.
--
-- The queue is not paused and has used the one priority that the marks know, and nothing
-- became ready again. What fell due is noticed by the next full scan: whoever goes this way
-- has no slot left for it. In sql, so that it becomes part of the query that reads the
-- jobs, with its snapshot.
create function _procrastinate_straight(
    p_queue text, p_marks bigint[]
)
returns table (priority integer)
language sql stable parallel safe
begin atomic
    select min(p.priority)
    from procrastinate_priorities as p
    where
        p.queue_name = p_queue
        and p_marks[1]::text::xid8 <= pg_snapshot_xmin(pg_current_snapshot())
        and not exists (
            select
            from procrastinate_queues as s
            where s.queue_name = p_queue and s.paused_at is not null
        )
        and not exists (
            select
            from procrastinate_todo as t
            where t.state = 'a' and t.queue_name = p_queue
        )
    having count(*) = 1 and min(p.id) = p_marks[9];
end;

comment on function _procrastinate_straight(text, bigint[]) is
'The one priority of this queue, where nothing but its next jobs is to be looked at.';
