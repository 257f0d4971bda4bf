-- The heads that this exchange has handed over and that may be claimed: blocked so far,
-- due, and still the next of their lock. Nothing has joined the line before them since, and
-- this fetch has not claimed such a one already; nobody else can have, for the key is in
-- hand.
--
-- In sql, so that it becomes part of the query that reads the ready jobs, with its
-- snapshot.
create function _procrastinate_handed_heads(p_handed bigint[], p_now timestamptz)
returns table (job_id bigint, queue_name varchar, priority integer)
language sql stable parallel safe
begin atomic
    select h.job_id, h.queue_name, h.priority
    from (
        select
            t.job_id, t.queue_name, t.priority, t.lock, t.state, t.scheduled_at
        from procrastinate_todo as t
        where t.job_id = any(p_handed[3:])
        offset 0
    ) as h
    where
        h.state = 'b'
        and coalesce(h.scheduled_at <= p_now, true)
        and not exists (
            select
            from (
                select t.priority, t.job_id
                from procrastinate_todo as t
                where t.lock = h.lock and t.since >= p_handed[1]::text::xid8
                order by t.since
                offset 0
            ) as s
            where (~s.priority, s.job_id) < (~h.priority, h.job_id)
        )
        and not exists (
            select
            from procrastinate_doing as d
            where d.lock = h.lock and d.claim_id > p_handed[2]
            order by d.claim_id
            limit 1
        );
end;

comment on function _procrastinate_handed_heads(bigint[], timestamptz) is
'Heads of locks released by this exchange that may be claimed by it.';
