-- delayed -> ready again for what fell due in these queues, a bounded number; true: more is
-- due.
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
    set
        state = 'a',
        since = pg_current_xact_id(),
        lock = coalesce(t.lock, t.due_lock),
        due_lock = null
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
