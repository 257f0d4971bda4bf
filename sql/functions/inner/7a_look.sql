-- The pairs of queue and priority that a fetch looks at, in the order of its walk. Queues that
-- are paused are not among them.
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
        exists (
            select
            from procrastinate_todo as t
            where t.state = 'a' and t.since >= p_since
            order by t.since
            limit 1
        )
    into o_due, o_arrived;
end;
$$;

comment on function _procrastinate_look(text[], xid8) is
'Whether a delayed job of these queues is due, and whether jobs became ready again.';

-- delayed -> ready again for what fell due in these queues, a bounded number; true: more is due.
create function _procrastinate_wake_due(p_queues text[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_now constant timestamptz := procrastinate_now();
    v_max constant integer := 1000;
    v_due bigint[];
begin
    select array_agg(x.job_id) into v_due
    from (
        select d.job_id
        from unnest(p_queues) as q (queue_name)
        cross join lateral (
            select t.job_id
            from procrastinate_todo as t
            where
                t.state = 'd'
                and t.queue_name = q.queue_name
                and t.scheduled_at <= v_now
            order by t.scheduled_at
            limit v_max
        ) as d
        limit v_max
    ) as x;
    if v_due is null then
        return false;
    end if;
    update procrastinate_todo as t
    set state = 'a', since = pg_current_xact_id()
    where
        t.job_id = any(array(
            select x.job_id
            from procrastinate_todo as x
            where x.job_id = any(v_due)
            for no key update skip locked
        ))
        and t.state::text = 'd'
        and t.scheduled_at <= v_now;
    return cardinality(v_due) >= v_max;
end;
$$;

comment on function _procrastinate_wake_due(text[]) is
'Makes ready what fell due in these queues, at most 1000; true if there is more.';

-- Rows that became ready again below the marks, since the oldest transaction that the last
-- fetch did not see, lower the marks.
create function _procrastinate_note_arrivals(
    p_since xid8, p_queues text[], p_priorities integer[], p_again bigint[]
)
returns bigint[]
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_many constant integer := 200;  -- more than this: reading all from the start is cheaper
    v_seen integer := 0;
    v_row record;
begin
    for v_row in
        select t.queue_name, t.priority, t.job_id
        from procrastinate_todo as t
        where t.state = 'a' and t.since >= p_since
        order by t.since
        limit v_many
    loop
        v_seen := v_seen + 1;
        if v_seen >= v_many or cardinality(p_queues) > v_many then
            return array_fill(0::bigint, array[cardinality(p_queues)]);
        end if;
        for i in 1 .. cardinality(p_queues) loop
            if p_again[i] > v_row.job_id
                and p_queues[i] = v_row.queue_name
                and p_priorities[i] = v_row.priority
            then
                p_again[i] := v_row.job_id;
            end if;
        end loop;
    end loop;
    return p_again;
end;
$$;

comment on function _procrastinate_note_arrivals(xid8, text[], integer[], bigint[]) is
'The marks of rows ready again, lowered to those that became so since.';
