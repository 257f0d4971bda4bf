-- The same for some queues of one priority.
create function _procrastinate_see_queues(
    p_queues text[],
    p_priority integer,
    p_fresh bigint[],
    p_again bigint[],
    p_take integer,
    p_picked bigint[],  -- by this fetch so far: not these
    p_handed bigint[],
    out o_seen integer,
    out o_free bigint[],
    out o_locked bigint[],
    out o_locks text[],
    out o_fresh bigint[],
    out o_again bigint[]
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    with seen as (
        select c.job_id, c.lock, c.state, q.queue_name
        from (
            -- two who were the first to use a priority have left two pairs: one is enough
            select x.queue_name, min(x.fresh) as fresh, min(x.again) as again
            from unnest(p_queues, p_fresh, p_again) as x (queue_name, fresh, again)
            group by x.queue_name
        ) as q
        cross join lateral (
            (
                select t.job_id, t.lock, t.state
                from procrastinate_todo as t
                where
                    t.state = 'r'
                    and t.queue_name = q.queue_name
                    and t.priority = p_priority
                    and t.job_id + 0 >= q.fresh
                    and t.job_id <> all(p_picked)
                order by t.job_id + 0
                limit p_take
            )
            union all
            (
                select t.job_id, t.lock, t.state
                from procrastinate_todo as t
                where
                    t.state = 'a'
                    and t.queue_name = q.queue_name
                    and t.priority = p_priority
                    and t.job_id + 0 >= q.again
                    and t.job_id <> all(p_picked)
                order by t.job_id + 0
                limit p_take
            )
        ) as c
        union all
        select h.job_id, null, 'b', null
        from _procrastinate_handed_heads(p_handed, procrastinate_now()) as h
        where
            h.queue_name = any(p_queues)
            and h.priority = p_priority
        order by job_id
        limit p_take
    ),
    mark as (
        select
            max(s.job_id) filter (where s.state = 'r') as fresh,
            max(s.job_id) filter (where s.state = 'a') as again,
            i.nr
        from unnest(p_queues) with ordinality as i (queue_name, nr)
        left join seen as s on s.queue_name = i.queue_name
        group by i.nr
    )
    select
        count(*),
        array_agg(s.job_id) filter (where s.lock is null),
        array_agg(s.job_id) filter (where s.lock is not null),
        array_agg(s.lock) filter (where s.lock is not null),
        (select array_agg(m.fresh order by m.nr) from mark as m),
        (select array_agg(m.again order by m.nr) from mark as m)
    into o_seen, o_free, o_locked, o_locks, o_fresh, o_again
    from seen as s;
end;
$$;

comment on function _procrastinate_see_queues(
    text[], integer, bigint[], bigint[], integer, bigint[], bigint[]
) is 'The first ready jobs of one priority in these queues, from their marks on.';
