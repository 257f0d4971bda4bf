-- The next head of each lock that these claims have just released, for whoever holds the
-- keys and has made its changes.
--
-- A claim says where its job stood in line and what was not yet seen when it became the
-- head. The next head is the first job from there on, unless one has joined the line before
-- it since: only those are read besides. Where that is not known, or many have joined, the
-- line is to be read whole.
--
-- In sql, so that it becomes part of the query that uses it, with its snapshot.
create function _procrastinate_heads_of(p_released procrastinate_doing[])
returns table (
    lock text,
    claim_id bigint,
    whole boolean,
    job_id bigint,  -- null: nobody waits, or whole
    queue_name varchar,
    priority integer,
    scheduled_at timestamptz,
    state "char"
)
language sql stable parallel safe
begin atomic
    select
        l.lock, l.claim_id, a.whole, h.job_id, h.queue_name, h.priority, h.scheduled_at,
        h.state
    from unnest(p_released) as l
    cross join lateral (
        select
            -- of another server, before a restore
            coalesce(l.head_xmin >= pg_snapshot_xmax(pg_current_snapshot()), true)
            -- one ahead, or 200 at all
            or coalesce(sum(
                case
                    when (~s.priority, s.job_id) < (~l.priority, l.job_id) then 200
                    else 1
                end
            ) >= 200, false) as whole
        from (
            select t.priority, t.job_id
            from procrastinate_todo as t
            where t.lock = l.lock and t.since >= l.head_xmin
            order by t.since
            limit 200
        ) as s
    ) as a
    left join lateral (
        select t.job_id, t.queue_name, t.priority, t.scheduled_at, t.state
        from procrastinate_todo as t
        where
            not a.whole
            and t.lock = l.lock
            and (~t.priority, t.job_id) >= (~l.priority, l.job_id)
        order by t.lock, ~t.priority, t.job_id
        limit 1
    ) as h on true;
end;

comment on function _procrastinate_heads_of(procrastinate_doing[]) is
'The next head of each lock that these claims have released, where it is known.';
