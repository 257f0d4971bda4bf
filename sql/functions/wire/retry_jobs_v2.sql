-- As v1, with the error of each attempt, which its history keeps.
create function procrastinate_retry_jobs_v2(
    p_worker_id bigint,
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_retry_ats timestamptz[],
    p_priorities integer[],
    p_queue_names text[],
    p_locks text[],
    p_errors jsonb[],
    p_retry_ins interval[] default null
)
returns table (job_id bigint, outcome text, status procrastinate_job_status)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
#variable_conflict use_column
declare
    v_row record;
begin
    perform _procrastinate_clear_derived();
    for v_row in
        select r.job_id, r.outcome, r.status
        from procrastinate_retry_jobs_v1(
            p_worker_id, p_job_ids, p_claim_ids, p_retry_ats, p_priorities, p_queue_names,
            p_locks, p_retry_ins
        ) as r
    loop
        if v_row.outcome <> 'not_held' then
            perform _procrastinate_note_errors(
                array[v_row.job_id],
                array[p_errors[array_position(p_job_ids, v_row.job_id)]]
            );
        end if;
        job_id := v_row.job_id;
        outcome := v_row.outcome;
        status := v_row.status;
        return next;
    end loop;
end;
$$;

comment on function procrastinate_retry_jobs_v2(
    bigint, bigint[], bigint[], timestamptz[], integer[], text[], text[], jsonb[],
    interval[]
) is 'doing -> todo for these claims, with the errors; an outcome for each. Raises PQ003.';
