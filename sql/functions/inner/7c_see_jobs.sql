-- The first ready jobs of one priority in some queues, by id, from the marks on.
create function _procrastinate_see_level(
    p_queues text[],
    p_pairs bigint[],
    p_priority integer,
    p_fresh bigint[],
    p_again bigint[],
    p_take integer,
    p_pass bigint[],
    out o_seen integer,
    out o_free bigint[],
    out o_locked bigint[],
    out o_locks text[],
    out o_ids bigint[],
    out o_pairs bigint[],
    out o_states "char"[]
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    select
        count(*),
        array_agg(s.job_id) filter (where s.lock is null),
        array_agg(s.job_id) filter (where s.lock is not null),
        array_agg(s.lock) filter (where s.lock is not null),
        array_agg(s.job_id),
        array_agg(s.pair),
        array_agg(s.state)
    into o_seen, o_free, o_locked, o_locks, o_ids, o_pairs, o_states
    from (
        select c.job_id, c.lock, c.state, q.pair
        from unnest(p_queues, p_pairs, p_fresh, p_again) as q (queue_name, pair, fresh, again)
        cross join lateral (
            (
                select t.job_id, t.lock, t.state
                from procrastinate_todo as t
                where
                    t.state = 'r'
                    and t.queue_name = q.queue_name
                    and t.priority = p_priority
                    and t.job_id >= q.fresh
                    and t.job_id <> all(p_pass)
                order by t.job_id
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
                    and t.job_id >= q.again
                    and t.job_id <> all(p_pass)
                order by t.job_id
                limit p_take
            )
        ) as c
        where q.queue_name is not null
        order by c.job_id
        limit p_take
    ) as s;
end;
$$;

comment on function _procrastinate_see_level(
    text[], bigint[], integer, bigint[], bigint[], integer, bigint[]
) is
'The first ready jobs of one priority in these queues, from their marks on.';

-- The same for queues that have used too many priorities to walk: without marks.
create function _procrastinate_see_wide(
    p_queues text[],
    p_take integer,
    p_pass bigint[],
    out o_seen integer,
    out o_free bigint[],
    out o_locked bigint[],
    out o_locks text[],
    out o_ids bigint[],
    out o_pairs bigint[],
    out o_states "char"[]
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
        select c.job_id, c.lock
        from unnest(p_queues) as q (queue_name)
        cross join lateral (
            (
                select t.job_id, t.lock, t.priority
                from procrastinate_todo as t
                where
                    t.state = 'r'
                    and t.queue_name = q.queue_name
                    and t.job_id <> all(p_pass)
                order by t.priority desc, t.job_id
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
                order by t.priority desc, t.job_id
                limit p_take
            )
        ) as c
        order by c.priority desc, c.job_id
        limit p_take
    ) as s;
end;
$$;

comment on function _procrastinate_see_wide(text[], integer, bigint[]) is
'The first ready jobs of these queues by priority, then id, without marks.';
