-- The first ready jobs of one queue and priority, by id, from the marks on, and among them
-- the heads of locks that this exchange has released: those hold no question, and count as
-- free.
create function _procrastinate_see_queue(
    p_queue text,
    p_priority integer,
    p_fresh bigint,
    p_again bigint,
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
    select
        count(*),
        array_agg(s.job_id) filter (where s.lock is null),
        array_agg(s.job_id) filter (where s.lock is not null),
        array_agg(s.lock) filter (where s.lock is not null),
        array[max(s.job_id) filter (where s.state = 'r')],
        array[max(s.job_id) filter (where s.state = 'a')]
    into o_seen, o_free, o_locked, o_locks, o_fresh, o_again
    from (
        select l.job_id, l.lock, l.state
        from _procrastinate_line(
            p_queue, p_priority, p_fresh, p_again, p_take, p_picked
        ) as l
        union all
        select h.job_id, null, 'b'
        from _procrastinate_handed_heads(p_handed, procrastinate_now()) as h
        where
            h.queue_name = p_queue
            and h.priority = p_priority
        order by job_id
        limit p_take
    ) as s;
end;
$$;

comment on function _procrastinate_see_queue(
    text, integer, bigint, bigint, integer, bigint[], bigint[]
) is 'The first ready jobs of one queue and priority, from its marks on.';
