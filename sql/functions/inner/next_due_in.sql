-- Seconds until something in these queues may run that may not run now: p_open are those
-- among them that are not paused.
create function _procrastinate_next_due_in(p_queues text[], p_open text[])
returns double precision
language plpgsql stable parallel safe
set search_path from current
as $$
declare
    v_now constant timestamptz := procrastinate_now();
    v_due timestamptz;
begin
    select min(x.at) into v_due
    from (
        select d.scheduled_at as at
        from unnest(p_open) as q (queue_name)
        cross join lateral (
            select t.scheduled_at
            from procrastinate_todo as t
            where t.state = 'd' and t.queue_name = q.queue_name
            order by t.scheduled_at
            limit 1
        ) as d
        union all
        select s.paused_until
        from procrastinate_queues as s
        where s.paused_until > v_now and (p_queues is null or s.queue_name = any(p_queues))
    ) as x;
    if v_due is null or v_due = 'infinity' then
        return null;  -- greatest() would make it 0
    end if;
    return greatest(extract(epoch from v_due - v_now), 0);
end;
$$;

comment on function _procrastinate_next_due_in(text[], text[]) is
'Seconds until the next delayed job of these queues falls due or a pause ends; else null.';
