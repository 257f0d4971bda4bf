-- Whether anything fell due in these queues, and whether anything became ready again since.
create function _procrastinate_look(
    p_queues text[], p_since xid8, out o_due boolean, out o_arrived boolean
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    select
        exists (
            select
            from unnest(p_queues) as q (queue_name)
            cross join lateral (
                select t.scheduled_at
                from procrastinate_todo as t
                where t.state = 'd' and t.queue_name = q.queue_name
                order by t.scheduled_at
                limit 1
            ) as d
            where d.scheduled_at <= procrastinate_now()
        ),
        (  -- not exists(): that would drop the order by, and the index with it
            select t.since
            from procrastinate_todo as t
            where t.state = 'a' and t.since >= p_since
            order by t.since
            limit 1
        ) is not null
    into o_due, o_arrived;
end;
$$;

comment on function _procrastinate_look(text[], xid8) is
'Whether a delayed job of these queues is due, and whether jobs became ready again.';
