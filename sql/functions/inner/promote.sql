-- Puts the head of each lock that nobody holds back among the jobs that may be fetched, and
-- tells its queue.
--
-- The caller holds the keys of these locks and has made its changes: the snapshots of these
-- statements show every release and every parked job that committed before.
--
-- p_claim_ids says of a lock which claim has just released it, the other arrays where that
-- job stood in line and what was not yet seen when it became the head. The next head is
-- then the first job from there on, unless one has joined the line before it since: only
-- those are read besides. A lock without (nulls) is read from its start, over whatever dead
-- rows an old snapshot keeps there.
--
-- Inside finish_and_fetch the heads are handed over instead, in a setting of the
-- transaction: the fetch that follows claims most of them without a row being written in
-- between, and unblocks the others (see unblock). Layout: oldest transaction not seen, last
-- claim, jobs.
create function _procrastinate_promote(
    p_locks text[],
    p_priorities integer[],
    p_job_ids bigint[],
    p_head_xmins xid8[],
    p_claim_ids bigint[]
)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = on
set enable_sort = off
set jit = off
as $$
declare
    v_many constant integer := 200;  -- more than this joined: reading all is cheaper
    v_heads bigint[];
    v_whole text[];
    v_handed bigint[];
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
    from unnest(p_locks, p_priorities, p_job_ids, p_head_xmins, p_claim_ids)
        as l (lock, priority, job_id, head_xmin, claim_id)
    cross join lateral (
        select
            coalesce(l.head_xmin >= v_xmax, true)  -- of another server, before a restore
            or l.claim_id is null or count(*) >= v_many
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

    if v_whole is not null then  -- some have joined before the mark, or there is none
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
    if coalesce(cardinality(v_heads), 0) = 0 then
        return true;
    end if;
    if current_setting('procrastinate.exchange', true) = 'on' then
        v_handed := nullif(current_setting('procrastinate.handover', true), '')::bigint[];
        v_handed := array[
            least(v_handed[1], v_xmin), least(v_handed[2], v_claim)
        ] || v_handed[3:] || v_heads;
        return set_config('procrastinate.handover', v_handed::text, true) is not null;
    end if;
    return _procrastinate_unblock(v_heads, v_xmin, v_claim);
end;
$$;

comment on function _procrastinate_promote(text[], integer[], bigint[], xid8[], bigint[]) is
'Unblocks the head of each of these locks that nobody holds, and tells its queue.';
