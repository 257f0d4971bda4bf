-- doing -> todo or failed: runs that failed, of jobs whose data says how often and when
-- they are tried again. With the error of each attempt.
create function procrastinate_fail_jobs_v1(
    p_worker_id bigint,
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_errors jsonb[],
    p_delete boolean[]
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
    v_held boolean;
begin
    perform _procrastinate_clear_derived();
    perform _procrastinate_check_report(
        p_worker_id, 0, p_job_ids, p_claim_ids,
        array_fill(
            'failed'::procrastinate_job_status, array[coalesce(cardinality(p_job_ids), 0)]
        ),
        p_delete
    );
    v_held := _procrastinate_lock_jobs(p_job_ids, '{}');
    for v_job in
        select u.job_id, u.claim_id, u.error, u.gone
        from unnest(p_job_ids, p_claim_ids, p_errors, p_delete) as u (
            job_id, claim_id, error, gone
        )
        where u.job_id is not null
        order by u.job_id
    loop
        job_id := v_job.job_id;
        v_held := _procrastinate_fail_by_policy(
            p_worker_id, v_job.job_id, v_job.claim_id, v_job.error,
            coalesce(v_job.gone, false)
        );
        status := (select j.status from procrastinate_jobs as j where j.id = v_job.job_id);
        outcome := case
            when v_held is not true then 'not_held'
            when status = 'todo' then 'retried'
            else 'failed'
        end;
        return next;
    end loop;
end;
$$;

comment on function procrastinate_fail_jobs_v1(
    bigint, bigint[], bigint[], jsonb[], boolean[]
) is 'doing -> todo or failed for these claims, as each job''s data says. Raises PQ003.';
