-- The pairs of queue and priority that a fetch looks at, in the order of its walk. Queues
-- that are paused are not among them.
create function _procrastinate_read_pairs(
    p_queues text[],
    out o_pairs bigint[],
    out o_queues text[],
    out o_priorities integer[]
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    if p_queues is null then
        select array_agg(p.id), array_agg(p.queue_name), array_agg(p.priority)
        into o_pairs, o_queues, o_priorities
        from (
            select x.id, x.queue_name, x.priority
            from procrastinate_priorities as x
            where
                not exists (
                    select
                    from procrastinate_queues as s
                    where
                        s.queue_name = x.queue_name
                        and s.paused_at is not null
                        and coalesce(s.paused_until, 'infinity') > procrastinate_now()
                )
            order by x.priority desc, x.queue_name, x.id
        ) as p;
    else
        select array_agg(p.id), array_agg(p.queue_name), array_agg(p.priority)
        into o_pairs, o_queues, o_priorities
        from (
            select x.id, x.queue_name, x.priority
            from procrastinate_priorities as x
            where
                x.queue_name = any(p_queues)
                and not exists (
                    select
                    from procrastinate_queues as s
                    where
                        s.queue_name = x.queue_name
                        and s.paused_at is not null
                        and coalesce(s.paused_until, 'infinity') > procrastinate_now()
                )
            order by x.priority desc, x.queue_name, x.id
        ) as p;
    end if;
end;
$$;

comment on function _procrastinate_read_pairs(text[]) is
'Queues and priorities to look at that are not paused, highest priority first.';
