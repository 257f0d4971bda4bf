-- The next heads of locks, for whoever holds their keys and has made its changes: the
-- snapshots of these statements show every release and every parked job that committed
-- before.
--
-- p_released are the claims that have just released their locks. Each says where its job
-- stood in line and what was not yet seen when it became the head. The next head is then
-- the first job from there on, unless one has joined the line before it since: only those
-- are read besides. A lock without (p_locks) is read from its start, over whatever dead
-- rows an old snapshot keeps there; it may be held.
--
-- Null if there is none, else: oldest transaction not seen, last claim, jobs.
create function _procrastinate_next_heads(
    p_released procrastinate_doing[], p_locks text[]
)
returns bigint[]
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_many constant integer := 200;  -- more than this joined: reading all is cheaper
    v_heads bigint[];
    v_whole text[];
    v_xmin bigint;
    v_xmax constant xid8 := pg_snapshot_xmax(pg_current_snapshot());
    v_claim bigint;
begin
    v_xmin := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    select
        array_agg(h.job_id) filter (where not a.whole),
        array_agg(l.lock) filter (where a.whole),
        min(l.claim_id)  -- up to it no claim of any of these locks is held
    into v_heads, v_whole, v_claim
    from unnest(p_released) as l
    cross join lateral (
        select
            coalesce(l.head_xmin >= v_xmax, true)  -- of another server, before a restore
            or count(*) >= v_many
            or coalesce(
                bool_or((~s.priority, s.job_id) < (~l.priority, l.job_id)), false
            ) as whole
        from (
            select t.priority, t.job_id
            from procrastinate_todo as t
            where t.lock = l.lock and t.since >= l.head_xmin
            order by t.since
            limit v_many
        ) as s
    ) as a
    left join lateral (
        select t.job_id
        from procrastinate_todo as t
        where
            not a.whole
            and t.lock = l.lock
            and (~t.priority, t.job_id) >= (~l.priority, l.job_id)
        order by t.lock, ~t.priority, t.job_id
        limit 1
    ) as h on true;
    v_heads := array_remove(v_heads, null);
    v_whole := v_whole || p_locks;

    if v_whole <> '{}' then  -- some have joined before the mark, or there is none
        select v_heads || array_agg(h.job_id) into v_heads
        from unnest(v_whole) as l (lock)
        cross join lateral (
            select t.job_id
            from procrastinate_todo as t
            where t.lock = l.lock
            order by t.lock, ~t.priority, t.job_id
            limit 1
        ) as h
        where
            not exists (
                select
                from procrastinate_doing as d
                where d.lock = l.lock
                order by d.claim_id
                limit 1
            );
        if v_claim is null then
            v_claim := (
                select case when s.is_called then s.last_value else 0 end
                from procrastinate_claims_seq as s
            );
        end if;
    end if;
    if v_heads <> '{}' then
        return array[v_xmin, v_claim] || v_heads;
    end if;
    return null;
end;
$$;

comment on function _procrastinate_next_heads(procrastinate_doing[], text[]) is
'The next heads of locks just released, and of these locks if nobody holds them.';
