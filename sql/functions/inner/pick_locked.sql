-- Of jobs in line for pick_here, those that have a lock: takes the keys, locks the rows of
-- the jobs. Fewer than there are where one of them may not run, or somebody is in the way.
create function _procrastinate_pick_locked(
    p_worker_id bigint,
    p_queue text,
    p_job_ids bigint[],
    p_locks text[],  -- of each; null: it is picked already
    p_picked bigint[],  -- by this fetch so far: they are about to hold their locks
    p_now timestamptz
)
returns bigint[]
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_taken record;
begin
    if array_position(p_locks, null) is not null then
        select array_agg(c.job_id), array_agg(c.lock) into p_job_ids, p_locks
        from unnest(p_job_ids, p_locks) as c (job_id, lock)
        where c.lock is not null;
    end if;
    v_taken := _procrastinate_take_heads(
        p_job_ids, p_locks, p_picked,
        current_setting('max_locks_per_transaction')::integer / 2
    );
    if cardinality(v_taken.o_heads) = cardinality(p_job_ids) then
        return array(
            select j.id
            from procrastinate_jobs as j
            where
                j.id = any(v_taken.o_heads)
                and j.status = 'todo'  -- as it is now: it may have changed since
                and j.queue_name = p_queue
                and coalesce(j.scheduled_at <= p_now, true)
                and exists (
                    select
                    from procrastinate_workers as w
                    where w.id = p_worker_id
                    for key share skip locked
                )
            for no key update of j skip locked
        );
    end if;
    return '{}'::bigint[];
end;
$$;

comment on function _procrastinate_pick_locked(
    bigint, text, bigint[], text[], bigint[], timestamptz
) is 'Locks the rows of these jobs with locks, where all of them may run.';
