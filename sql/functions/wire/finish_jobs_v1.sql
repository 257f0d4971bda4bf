-- doing -> succeeded, failed or aborted (or gone), for the claims that still hold their
-- job.
create function procrastinate_finish_jobs_v1(
    p_worker_id bigint,
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_statuses procrastinate_job_status[],
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
    v_outer constant text := current_setting('procrastinate.derived', true);
    v_part record;
begin
    perform _procrastinate_check_report(
        p_worker_id, 0, p_job_ids, p_claim_ids, p_statuses, p_delete
    );
    perform set_config('procrastinate.derived', pg_trigger_depth()::text, true);
    v_part := _procrastinate_end_jobs(
        p_worker_id, p_job_ids, p_claim_ids, p_statuses, p_delete, procrastinate_now()
    );
    perform set_config('procrastinate.derived', coalesce(v_outer, ''), true);
    if v_part.o_released <> '{}' then
        perform _procrastinate_promote(v_part.o_released, '{}');
    end if;
    return query
    select
        u.job_id,
        case when u.job_id = any(v_part.o_ended) then 'finished' else 'not_held' end,
        j.status
    from unnest(p_job_ids) with ordinality as u (job_id, nr)
    left join procrastinate_jobs as j on j.id = u.job_id
    order by u.nr;
end;
$$;

comment on function procrastinate_finish_jobs_v1(
    bigint, bigint[], bigint[], procrastinate_job_status[], boolean[]
) is 'doing -> ended for these claims; an outcome for each job. Raises PQ003.';
