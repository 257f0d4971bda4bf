-- Of candidates with a lock: which may run now. The others are parked (state b), so that no
-- fetch meets them again before their lock's head is promoted.
--
-- The keys of the locks are only tried: whoever has one is about to release or to claim, and
-- will say so. What is behind a key that was not had is told in o_busy. With a key in hand,
-- a fresh snapshot decides. A head that nobody holds back is never parked.
--
-- A promoted head carries what is known of its line (see promote), so that only later arrivals
-- and later claims are read.
create function _procrastinate_take_heads(
    p_job_ids bigint[],
    p_locks text[],
    inout p_budget integer,
    out o_heads bigint[],
    out o_busy bigint[],
    out o_over bigint[]
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_locks text[];
    v_got text[];
    v_parked bigint[];
begin
    select array_agg(distinct l.lock) into v_locks
    from unnest(p_locks) as l (lock);

    if cardinality(v_locks) > p_budget then
        v_locks := array(
            select l.lock
            from unnest(p_locks) with ordinality as l (lock, nr)
            group by l.lock
            order by min(l.nr)
            limit p_budget
        );
        select array_agg(c.job_id) into o_over
        from unnest(p_job_ids, p_locks) as c (job_id, lock)
        where c.lock <> all(v_locks);
    end if;
    p_budget := p_budget - cardinality(v_locks);

    if pg_try_advisory_xact_lock_shared(_procrastinate_all_locks_key(1))
        and pg_try_advisory_xact_lock_shared(_procrastinate_all_locks_key(0))
    then
        select array_agg(l.lock) into v_got
        from unnest(v_locks) as l (lock)
        where pg_try_advisory_xact_lock(_procrastinate_lock_key(l.lock));
    end if;

    -- a snapshot taken after the keys: it shows all that their last holders did
    with line as (
        select
            c.lock,
            c.job_ids,
            k.job_id as known_id, k.priority, k.head_xmin, k.free_after
        from (
            select c.lock, array_agg(c.job_id order by c.nr) as job_ids
            from unnest(p_job_ids, p_locks) with ordinality as c (job_id, lock, nr)
            where c.lock = any(v_got)
            group by c.lock
        ) as c
        left join lateral (
            select t.job_id, t.priority, t.head_xmin, t.free_after
            from procrastinate_todo as t
            where
                t.job_id = any(c.job_ids)
                and t.lock = c.lock and t.state in ('r', 'a') and t.head_xmin is not null
            order by ~t.priority, t.job_id
            limit 1
        ) as k on true
    ),
    verdict as (
        select
            l.lock,
            l.job_ids,
            exists (
                select
                from procrastinate_doing as d
                where d.lock = l.lock and d.claim_id > coalesce(l.free_after, 0)
            ) as held,
            coalesce(
                (
                    select s.job_id
                    from (
                        select t.job_id, t.priority
                        from procrastinate_todo as t
                        where t.lock = l.lock and t.since >= l.head_xmin
                        order by t.since
                        offset 0
                    ) as s
                    where (~s.priority, s.job_id) < (~l.priority, l.known_id)
                    order by ~s.priority, s.job_id
                    limit 1
                ),
                l.known_id,
                (
                    select t.job_id
                    from procrastinate_todo as t
                    where t.lock = l.lock and l.known_id is null
                    order by ~t.priority, t.job_id
                    limit 1
                )
            ) as head_id
        from line as l
    )
    select
        array_agg(v.head_id) filter (where not v.held and v.head_id = any(v.job_ids)),
        array_agg(j.job_id) filter (where v.held or j.job_id <> v.head_id)
    into o_heads, v_parked
    from verdict as v
    cross join lateral unnest(v.job_ids) as j (job_id);

    o_heads := array(select distinct h.job_id from unnest(o_heads) as h (job_id));

    if v_parked is not null then
        update procrastinate_todo as t
        set state = 'b'
        where
            t.job_id = any(v_parked)
            and t.lock = any(v_got)
            and t.state in ('r', 'a');
    end if;

    select array_agg(c.job_id) into o_busy
    from unnest(p_job_ids, p_locks) as c (job_id, lock)
    where c.lock = any(v_locks) and (v_got is null or c.lock <> all(v_got));
end;
$$;

comment on function _procrastinate_take_heads(bigint[], text[], integer) is
'Of ready jobs with locks: claims the keys, tells the heads that may run, parks the rest.';
