-- The same for queues that have used too many priorities to walk: without marks.
create function _procrastinate_see_wide(
    p_queues text[],
    p_take integer,
    p_pass bigint[],
    p_handed bigint[],
    out o_seen integer,
    out o_free bigint[],
    out o_locked bigint[],
    out o_locks text[]
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    select
        count(*),
        array_agg(s.job_id) filter (where s.lock is null),
        array_agg(s.job_id) filter (where s.lock is not null),
        array_agg(s.lock) filter (where s.lock is not null)
    into o_seen, o_free, o_locked, o_locks
    from (
        select c.job_id, c.lock, c.priority
        from (select distinct x.queue_name from unnest(p_queues) as x (queue_name)) as q
        cross join lateral (
            (
                select t.job_id, t.lock, t.priority
                from procrastinate_todo as t
                where
                    t.state = 'r'
                    and t.queue_name = q.queue_name
                    and t.job_id <> all(p_pass)
                order by t.priority desc, t.job_id + 0
                limit p_take
            )
            union all
            (
                select t.job_id, t.lock, t.priority
                from procrastinate_todo as t
                where
                    t.state = 'a'
                    and t.queue_name = q.queue_name
                    and t.job_id <> all(p_pass)
                order by t.priority desc, t.job_id + 0
                limit p_take
            )
        ) as c
        union all
        select h.job_id, null, h.priority
        from _procrastinate_handed_heads(p_handed, procrastinate_now()) as h
        where
            h.job_id <> all(p_pass)
            and h.queue_name = any(p_queues)
        order by priority desc, job_id
        limit p_take
    ) as s;
end;
$$;

comment on function _procrastinate_see_wide(text[], integer, bigint[], bigint[]) is
'The first ready jobs of these queues by priority, then id, without marks.';
