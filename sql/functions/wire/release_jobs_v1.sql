-- doing -> todo: a worker gives back what it holds and has not run. No attempt is counted.
create function procrastinate_release_jobs_v1(
    p_worker_id bigint, p_job_ids bigint[], p_claim_ids bigint[]
)
returns table (job_id bigint, outcome text, status procrastinate_job_status)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_job record;
    v_released boolean;
begin
    perform _procrastinate_clear_derived();
    perform _procrastinate_check_report(
        p_worker_id, 0, p_job_ids, p_claim_ids,
        array_fill(
            'failed'::procrastinate_job_status, array[coalesce(cardinality(p_job_ids), 0)]
        ),
        '{}'
    );
    v_released := _procrastinate_lock_jobs(p_job_ids, '{}');
    -- one by one: each may meet a waiting job with its queueing lock
    for v_job in
        select u.job_id, u.claim_id
        from unnest(p_job_ids, p_claim_ids) as u (job_id, claim_id)
        order by u.job_id
    loop
        job_id := v_job.job_id;
        v_released := _procrastinate_put_back(
            p_worker_id, v_job.job_id, v_job.claim_id, 0, null, null, null, null
        );
        select j.status into status from procrastinate_jobs as j where j.id = v_job.job_id;
        outcome := case
            when not v_released then 'not_held'
            when status = 'todo' then 'released'
            else status::text
        end;
        return next;
    end loop;
end;
$$;

comment on function procrastinate_release_jobs_v1(bigint, bigint[], bigint[]) is
'doing -> todo without counting an attempt, for these claims; an outcome for each job.';
