-- doing -> ended (or gone) for the claims that still hold their job.
--
-- A claim that was recovered and given to another changes nothing. The claim is read from
-- the snapshot, so where the row had to be waited for, the worker says whose run it is now:
-- the present row is tested again for that. A pruned worker's job has no worker: its claim
-- counts.
create function _procrastinate_end_jobs(
    p_worker_id bigint,
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_statuses procrastinate_job_status[],
    p_delete boolean[]
)
returns bigint[]
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_ended bigint[];
    v_gone bigint[];
begin
    if p_statuses[1] = all(p_statuses) and not true = any(p_delete) then
        -- one status for all, as most reports have: a claim is one job's, so two lists
        -- suffice
        with ended as (
            update procrastinate_jobs as j
            set status = p_statuses[1], attempts = j.attempts + 1, abort_requested = false
            from procrastinate_doing as d
            where
                d.job_id = any(p_job_ids)
                and d.claim_id = any(p_claim_ids)
                and j.id = d.job_id
                and j.status = 'doing'
                and coalesce(j.worker_id, p_worker_id) = p_worker_id
            returning j.id
        )
        select array_agg(e.id) into v_ended from ended as e;
        return coalesce(v_ended, '{}');
    end if;
    if true = any(p_delete) then  -- two statements: all that either waits for comes first
        perform _procrastinate_lock_jobs(
            array(
                select d.job_id
                from procrastinate_doing as d
                where d.job_id = any(p_job_ids) and d.claim_id = any(p_claim_ids)
            ),
            '{}'
        );
    end if;
    with ended as (
        update procrastinate_jobs as j
        set status = e.status, attempts = j.attempts + 1, abort_requested = false
        from (
            select u.job_id, u.claim_id, u.status
            from unnest(p_job_ids, p_claim_ids, p_statuses, p_delete)
                as u (job_id, claim_id, status, gone)
            where u.gone is not true
            order by u.job_id
        ) as e
        join procrastinate_doing as d on d.job_id = e.job_id and d.claim_id = e.claim_id
        where
            j.id = e.job_id
            and j.status = 'doing'
            and coalesce(j.worker_id, p_worker_id) = p_worker_id
        returning j.id
    )
    select array_agg(e.id) into v_ended from ended as e;

    if true = any(p_delete) then
        with gone as (
            delete from procrastinate_jobs as j
            using (
                select u.job_id, u.claim_id
                from unnest(p_job_ids, p_claim_ids, p_delete) as u (job_id, claim_id, gone)
                where u.gone
                order by u.job_id
            ) as e
            join procrastinate_doing as d on d.job_id = e.job_id and d.claim_id = e.claim_id
            where
                j.id = e.job_id
                and j.status = 'doing'
                and coalesce(j.worker_id, p_worker_id) = p_worker_id
            returning j.id
        )
        select array_agg(g.id) into v_gone from gone as g;
    end if;
    return coalesce(v_ended || v_gone, v_ended, v_gone, '{}');
end;
$$;

comment on function _procrastinate_end_jobs(
    bigint, bigint[], bigint[], procrastinate_job_status[], boolean[]
) is 'doing -> ended or gone for these claims; returns the jobs of those that held.';
