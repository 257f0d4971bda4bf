-- What running jobs tell of themselves: progress, meta, and that they live. For the claims
-- that hold their job; null keeps what was told before.
create function procrastinate_update_jobs_v1(
    p_worker_id bigint,
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_progress double precision[],
    p_meta jsonb[]
)
returns table (job_id bigint, outcome text)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := procrastinate_now();
    v_held bigint[];
    v_told bigint[];
    v_wrong text;
begin
    perform _procrastinate_clear_derived();
    perform _procrastinate_check_report(
        p_worker_id, 0, p_job_ids, p_claim_ids,
        array_fill(
            'failed'::procrastinate_job_status, array[coalesce(cardinality(p_job_ids), 0)]
        ),
        '{}'
    );
    v_wrong := coalesce(
        (
            select format('The progress of a job is %s', p.progress)
            from unnest(p_progress) as p (progress)
            where p.progress not between 0 and 1
            limit 1
        ),
        (
            select format('The meta of a job is a JSON %s', jsonb_typeof(m.meta))
            from unnest(p_meta) as m (meta)
            where jsonb_typeof(m.meta) <> 'object'
            limit 1
        )
    );
    if v_wrong is not null then
        perform _procrastinate_raise('PQ003', v_wrong, null,
            'Progress is a number from 0 to 1, meta an object.');
    end if;

    v_held := array(
        select d.job_id
        from procrastinate_doing as d
        where
            d.job_id = any(p_job_ids)
            and d.claim_id = any(p_claim_ids)
            and coalesce(d.worker_id, p_worker_id) = p_worker_id
        order by d.job_id
        for no key update
    );
    update procrastinate_doing as d
    set heartbeat_at = v_now + j.heartbeat
    from procrastinate_jobs as j
    where d.job_id = any(v_held) and j.id = d.job_id and j.heartbeat is not null;
    with told as (
        insert into procrastinate_results as r (job_id, progress, meta, updated_at)
        select distinct on (u.job_id) u.job_id, u.progress, u.meta, v_now
        from unnest(p_job_ids, p_progress, p_meta) with ordinality as u (
            job_id, progress, meta, nr
        )
        where u.job_id = any(v_held) and num_nonnulls(u.progress, u.meta) > 0
        order by u.job_id, u.nr desc  -- of one job's the last
        on conflict (job_id) do update
        set
            progress = coalesce(excluded.progress, r.progress),
            meta = coalesce(excluded.meta, r.meta),
            updated_at = excluded.updated_at
        returning r.job_id
    )
    select array_agg(t.job_id) into v_told from told as t;
    perform _procrastinate_tell_jobs('procrastinate_progress_v1', 'job_progress', v_told);
    return query
    select u.job_id, case when u.job_id = any(v_held) then 'updated' else 'not_held' end
    from unnest(p_job_ids) with ordinality as u (job_id, nr)
    order by u.nr;
end;
$$;

comment on function procrastinate_update_jobs_v1(
    bigint, bigint[], bigint[], double precision[], jsonb[]
) is 'Progress, meta and heartbeat of running jobs; an outcome for each. Raises PQ003.';
