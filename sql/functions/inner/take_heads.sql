-- Of candidates with a lock: which may run now. The others are parked (state b), so that no
-- fetch meets them again before their lock's head is promoted.
--
-- Keys are only tried: whoever has one is about to release or to claim, and will say so.
-- What is behind it is told in o_busy. With a key in hand, a fresh snapshot decides. A head
-- that nobody holds back is never parked. A promoted one carries what is known of its line:
-- only later arrivals and claims are read.
create function _procrastinate_take_heads(
    p_job_ids bigint[],
    p_locks text[],
    p_picked bigint[],  -- by this fetch so far: they are about to hold their locks
    inout p_budget integer,
    out o_heads bigint[],
    out o_busy bigint[],
    out o_over bigint[]
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_tried text[];
    v_got text[];
    v_held text[];
    v_stay bigint[];
    v_xmax constant xid8 := pg_snapshot_xmax(pg_current_snapshot());
begin
    if not (
        pg_try_advisory_xact_lock_shared(_procrastinate_all_locks_key(1))
        and pg_try_advisory_xact_lock_shared(_procrastinate_all_locks_key(0))
    ) then
        o_busy := p_job_ids;
        return;
    end if;
    select array_agg(k.lock), array_agg(k.lock) filter (where k.got) into v_tried, v_got
    from (
        select l.lock, pg_try_advisory_xact_lock(_procrastinate_lock_key(l.lock)) as got
        from (
            select x.lock
            from unnest(p_locks) with ordinality as x (lock, nr)
            group by x.lock
            order by min(x.nr)
            limit p_budget
        ) as l
        offset 0
    ) as k;
    p_budget := p_budget - cardinality(v_tried);
    if v_got is distinct from v_tried then
        select array_agg(c.job_id) into o_busy
        from unnest(p_job_ids, p_locks) as c (job_id, lock)
        where c.lock = any(v_tried) and c.lock <> all(coalesce(v_got, '{}'));
    end if;
    if p_budget <= 0 then
        select array_agg(c.job_id) into o_over
        from unnest(p_job_ids, p_locks) as c (job_id, lock) where c.lock <> all(v_tried);
    end if;
    if v_got is null then
        return;
    end if;
    -- a snapshot taken after the keys: it shows all that their last holders did
    select
        array_agg(h.head_id) filter (where not l.held),
        array_agg(l.lock) filter (where l.held)
    into o_heads, v_held
    from (
        select
            k.lock, k.job_id, k.priority, k.head_xmin,
            exists (
                select from procrastinate_doing as d
                where d.lock = k.lock and d.claim_id > coalesce(k.free_after, 0)
                order by d.claim_id
                limit 1
            ) or k.lock = any(array(
                select t.lock from procrastinate_todo as t
                where t.job_id = any(p_picked) and t.lock is not null
            )) as held
        from (
            select distinct on (x.lock)
                x.lock, x.job_id, x.priority, x.head_xmin, x.free_after
            from (
                select
                    t.lock, t.job_id, t.priority, t.free_after, t.state,
                    -- in a dump of another server it may lie ahead: then it says nothing
                    case when t.head_xmin < v_xmax then t.head_xmin end as head_xmin
                from procrastinate_todo as t
                where t.job_id = any(p_job_ids)
                offset 0
            ) as x
            where x.lock = any(v_got) and x.state in ('r', 'a')
            order by x.lock, x.head_xmin is null, ~x.priority, x.job_id
        ) as k
        offset 0
    ) as l
    cross join lateral (
        select coalesce(
            (
                select l.job_id
                where
                    l.head_xmin is not null
                    and not exists (
                        select from (
                            select t.priority, t.job_id
                            from procrastinate_todo as t
                            where t.lock = l.lock and t.since >= l.head_xmin
                            order by t.since
                            offset 0
                        ) as s
                        where (~s.priority, s.job_id) < (~l.priority, l.job_id)
                    )
            ),
            (
                select t.job_id
                from procrastinate_todo as t
                where t.lock = l.lock
                order by t.lock, ~t.priority, t.job_id
                limit 1
            )
        ) as head_id
    ) as h;

    if cardinality(o_heads) = cardinality(p_job_ids) and p_job_ids <@ o_heads then
        return;
    end if;
    -- what must stay as it is: heads that nobody holds, and jobs of locks not looked into
    select array_agg(c.job_id) into v_stay
    from unnest(p_job_ids, p_locks) as c (job_id, lock)
    where c.lock = any(v_got) and c.job_id <> all(coalesce(o_heads, '{}'::bigint[]));
    update procrastinate_todo as t
    set state = 'b'
    where
        t.job_id = any(v_stay)
        and t.state::text in ('r', 'a')
        and (
            t.lock || '' = any(v_held)
            or exists (  -- the head of its lock is another, and was seen
                select from procrastinate_todo as h
                where
                    h.job_id = any(o_heads)
                    and h.lock || '' = t.lock || ''
                    and h.job_id <> t.job_id
            )
        );
    -- a head that is no candidate is another queue's, or another walk's, to claim
    o_heads := array(
        select h.job_id from unnest(o_heads) as h (job_id) where h.job_id = any(p_job_ids)
    );
end;
$$;

comment on function _procrastinate_take_heads(bigint[], text[], bigint[], integer) is
'Of ready jobs with locks: claims the keys, tells the heads that may run, parks the rest.';
