-- Puts the head of each lock that nobody holds back among the jobs that may be fetched.
--
-- The caller holds the keys of these locks and has made its changes: the snapshot of this
-- statement shows every release and every parked job that committed before.
--
-- p_claims says of a lock which claim has just released it, the other arrays where that job
-- stood in line and what was not yet seen when it became the head. The next head is then the
-- first job behind it, or one that joined the line since: nothing else is read. A lock without
-- (nulls) is read from its start, over whatever dead rows an old snapshot keeps there.
create function _procrastinate_promote(
    p_locks text[],
    p_priorities integer[],
    p_job_ids bigint[],
    p_head_xmins xid8[],
    p_claim_ids bigint[]
)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = on
set jit = off
as $$
declare
    v_arrivals constant integer := 200;  -- more than this joined: reading all is cheaper
    v_queue record;
begin
    for v_queue in
        with line as (
            select
                l.lock, l.priority, l.job_id, l.claim_id,
                case when l.claim_id is not null then l.head_xmin end as head_xmin
            from unnest(p_locks, p_priorities, p_job_ids, p_head_xmins, p_claim_ids)
                as l (lock, priority, job_id, head_xmin, claim_id)
        ),
        next as (
            select l.lock, l.claim_id, h.job_id
            from line as l
            left join lateral (
                select
                    count(*) as seen,
                    (array_agg(s.job_id order by s.priority desc, s.job_id)
                        filter (where (~s.priority, s.job_id) < (~l.priority, l.job_id))
                    )[1] as job_id
                from (
                    select t.job_id, t.priority
                    from procrastinate_todo as t
                    where t.lock = l.lock and t.since >= l.head_xmin
                    order by t.since
                    limit v_arrivals
                ) as s
            ) as a on true
            cross join lateral (
                select coalesce(
                    case when a.seen < v_arrivals then a.job_id end,
                    (
                        select t.job_id
                        from procrastinate_todo as t
                        where
                            t.lock = l.lock
                            and l.head_xmin is not null and a.seen < v_arrivals
                            and (~t.priority, t.job_id) >= (~l.priority, l.job_id)
                        order by ~t.priority, t.job_id
                        limit 1
                    ),
                    (
                        select t.job_id
                        from procrastinate_todo as t
                        where
                            t.lock = l.lock
                            and (l.head_xmin is null or a.seen >= v_arrivals)
                        order by ~t.priority, t.job_id
                        limit 1
                    )
                ) as job_id
            ) as h
            where
                h.job_id is not null
                and (
                    l.claim_id is not null
                    or not exists (
                        select from procrastinate_doing as d where d.lock = l.lock
                    )
                )
        ),
        promoted as (
            update procrastinate_todo as t
            set
                state = case
                    when t.scheduled_at > procrastinate_now() then 'd' else 'a'
                end::"char",
                since = pg_current_xact_id(),
                head_xmin = pg_snapshot_xmin(pg_current_snapshot()),
                free_after = coalesce(
                    n.claim_id, (select s.last_value from procrastinate_claims_seq as s)
                )
            from next as n
            where t.job_id = n.job_id and t.state = 'b'
            returning t.job_id, t.queue_name
        )
        select p.queue_name, min(p.job_id) as job_id
        from promoted as p
        group by p.queue_name
    loop
        -- an exchange fetches next and tells of what it leaves: see finish_and_fetch
        if coalesce(current_setting('procrastinate.exchange', true), '') <> 'on' then
            perform _procrastinate_notify(
                v_queue.queue_name, 'job_inserted', v_queue.job_id
            );
        end if;
    end loop;
end;
$$;

comment on function _procrastinate_promote(text[], integer[], bigint[], xid8[], bigint[]) is
'Unblocks the head of each of these locks that nobody holds, and tells its queue.';
