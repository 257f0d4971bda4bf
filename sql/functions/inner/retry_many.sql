-- failed (or doing) -> todo for many jobs, an outcome for each: one that cannot be retried
-- is left and does not take the others back with it.
--
-- Order: rows of the jobs by id, those that others hold left out -> the keys of their locks
-- -> todo and doing, in the triggers.
create function _procrastinate_retry_many(p_job_ids bigint[], p_retry_at timestamptz)
returns table (job_id bigint, outcome text)
language plpgsql volatile parallel unsafe
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_mine bigint[];
    v_free bigint[];
    v_done bigint[] := array[]::bigint[];
    v_failed bigint[];
    v_keyed bigint[];
    v_todo bigint[];
    v_id bigint;
    v_name text;
begin
    v_mine := array(
        select j.id
        from procrastinate_jobs as j
        where j.id = any(p_job_ids) and j.status in ('failed', 'doing')
        order by j.id
        for no key update skip locked
    );
    perform _procrastinate_lock_jobs(v_mine, '{}');

    v_keyed := array(
        select x.id
        from (
            select j.id, j.key, row_number() over (partition by j.key order by j.id) as nr
            from procrastinate_jobs as j
            where j.id = any(v_mine) and j.status = 'failed' and j.key is not null
        ) as x
        where x.nr > 1 or exists (select from procrastinate_keys as k where k.key = x.key)
    );
    -- of those with the same queueing lock the first; and none where another job waits
    v_free := array(
        select distinct on (coalesce(j.queueing_lock, j.id::text), j.queueing_lock) j.id
        from procrastinate_jobs as j
        where
            j.id = any(v_mine)
            and j.status = 'failed'
            and j.id <> all(v_keyed)
            and (
                j.queueing_lock is null
                or not exists (
                    select
                    from procrastinate_todo as t
                    where t.queueing_lock = j.queueing_lock
                )
            )
        order by coalesce(j.queueing_lock, j.id::text), j.queueing_lock, j.id
    );
    v_todo := v_free || array(
        select j.id
        from procrastinate_jobs as j
        where j.id = any(v_mine) and j.status = 'doing'
        order by j.id
    );
    begin
        update procrastinate_jobs as j
        set
            status = 'todo',
            attempts = least(j.attempts, 2147483646) + 1,
            abort_requested = false,
            scheduled_at = p_retry_at
        where j.id = any(v_free) and j.status = 'failed';
        v_done := v_free;
        v_todo := v_todo[cardinality(v_free) + 1:];
    exception
        when unique_violation then  -- somebody was faster just now: one by one then
            v_done := array[]::bigint[];
    end;
    foreach v_id in array v_todo loop
        begin
            if _procrastinate_retry(v_id, p_retry_at, null, null, null) then
                v_done := v_done || v_id;
            end if;
        exception
            when unique_violation then
                get stacked diagnostics v_name = constraint_name;
                if v_name = 'procrastinate_keys_pkey' then
                    v_keyed := v_keyed || v_id;
                elsif v_name <> 'procrastinate_jobs_queueing_lock_idx_v1' then
                    raise;
                end if;
        end;
    end loop;
    v_failed := array(
        select j.id
        from procrastinate_jobs as j
        where j.id = any(v_done) and j.status = 'failed'
    );

    return query
    select
        n.id,
        case
            when n.id = any(v_failed) then 'failed'
            when n.id = any(v_done) then 'retried'
            when n.id = any(v_keyed) then 'key_taken'
            when n.id = any(v_mine) then 'queueing_lock_taken'
            else 'busy'
        end
    from unnest(p_job_ids) as n (id)
    order by n.id;
end;
$$;

comment on function _procrastinate_retry_many(bigint[], timestamptz) is
'failed or doing -> todo for many jobs, an outcome each: one refusal leaves the others.';
