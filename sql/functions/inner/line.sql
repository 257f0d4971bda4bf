-- The first jobs of one queue and priority that stand ready, by id: fresh ones and those
-- ready again, each from its mark on, p_take of each at most.
--
-- In sql, so that it becomes part of the query that uses it, with its snapshot.
create function _procrastinate_line(
    p_queue text,
    p_priority integer,
    p_fresh bigint,
    p_again bigint,
    p_take integer,
    p_pass bigint[]  -- but not these
)
returns table (job_id bigint, lock text, state "char")
language sql stable parallel safe
begin atomic
    (
        select t.job_id + 0 as job_id, t.lock, t.state
        from procrastinate_todo as t
        where
            t.state = 'r'
            and t.queue_name = p_queue
            and t.priority = p_priority
            and t.job_id + 0 >= p_fresh
            and t.job_id <> all(p_pass)
        order by t.job_id + 0
        limit p_take
    )
    union all
    (
        select t.job_id + 0 as job_id, t.lock, t.state
        from procrastinate_todo as t
        where
            t.state = 'a'
            and t.queue_name = p_queue
            and t.priority = p_priority
            and t.job_id + 0 >= p_again
            and t.job_id <> all(p_pass)
        order by t.job_id + 0
        limit p_take
    );
end;

comment on function _procrastinate_line(
    text, integer, bigint, bigint, integer, bigint[]
) is 'The first ready jobs of one queue and priority, from their marks on.';
