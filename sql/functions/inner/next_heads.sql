-- The next heads of locks, for whoever holds their keys and has made its changes: the
-- snapshots of these statements show every release and every parked job that committed
-- before.
--
-- p_released are the claims that have just released their locks. A lock without (p_locks)
-- is read from its start, over whatever dead rows an old snapshot keeps; it may be held.
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
    v_heads bigint[];
    v_whole text[];
    v_xmin bigint;
    v_claim bigint;
begin
    select
        array_agg(h.job_id) filter (where h.job_id is not null),
        array_agg(h.lock) filter (where h.whole),
        min(h.claim_id),  -- up to it no claim of any of these locks is held
        pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    into v_heads, v_whole, v_claim, v_xmin
    from _procrastinate_heads_of(p_released) as h;
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
