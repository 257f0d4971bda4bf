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
    p_delete boolean[],
    p_now timestamptz,
    out o_ended bigint[],
    out o_released procrastinate_doing[]  -- claims that had a lock, whose keys are in hand
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_part record;
    v_status procrastinate_job_status;
    v_gone bigint[];
begin
    if p_statuses[1] = all(p_statuses) and not true = any(p_delete) then
        -- one status for all, as most reports have
        v_part := _procrastinate_end_alike(
            p_worker_id, p_job_ids, p_claim_ids, p_statuses[1], p_now
        );
        o_ended := v_part.o_ended;
        o_released := v_part.o_released;
        return;
    end if;

    -- several statements: all that any of them waits for comes first
    perform _procrastinate_lock_jobs(
        array(
            select d.job_id
            from procrastinate_doing as d
            where d.job_id = any(p_job_ids) and d.claim_id = any(p_claim_ids)
        ),
        '{}'
    );
    o_ended := '{}';
    foreach v_status in array
        array['succeeded', 'failed', 'aborted']::procrastinate_job_status[]
    loop
        continue when not v_status = any(p_statuses);
        v_part := _procrastinate_end_alike(
            p_worker_id,
            array(
                select u.job_id
                from unnest(p_job_ids, p_statuses, p_delete) as u (job_id, status, gone)
                where u.status = v_status and u.gone is not true
            ),
            p_claim_ids,
            v_status,
            p_now
        );
        o_ended := o_ended || v_part.o_ended;
        o_released := o_released || v_part.o_released;
    end loop;
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
        o_ended := o_ended || v_gone;
    end if;
end;
$$;

comment on function _procrastinate_end_jobs(
    bigint, bigint[], bigint[], procrastinate_job_status[], boolean[],
    timestamptz
) is 'doing -> ended or gone for these claims; returns the jobs of those that held.';
