-- Refuses a report that cannot be meant, before anything is written.
create function _procrastinate_check_report(
    p_worker_id bigint,
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_statuses procrastinate_job_status[],
    p_delete boolean[]
)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_count constant integer := coalesce(cardinality(p_job_ids), 0);
begin
    if p_worker_id is null then
        perform _procrastinate_raise('PQ003', 'The worker''s id is null', null,
            'Give the id that procrastinate_register_worker_v2 returned.');
    end if;
    if v_count = 0 then
        return true;
    end if;
    if v_count <> coalesce(cardinality(p_claim_ids), 0)
        or v_count <> coalesce(cardinality(p_statuses), 0)
        or cardinality(p_delete) not in (0, v_count)
        or array_position(p_job_ids, null) is not null
        or array_position(p_claim_ids, null) is not null
    then
        perform _procrastinate_raise('PQ003',
            'The arrays of ended jobs differ in length, or hold a null',
            format('%s jobs, %s claims, %s statuses.', v_count,
                coalesce(cardinality(p_claim_ids), 0),
                coalesce(cardinality(p_statuses), 0)),
            'Give one claim and one status for each job.');
    end if;
    if array_position(p_statuses, null) is not null
        or not p_statuses
            <@ array['succeeded', 'failed', 'aborted']::procrastinate_job_status[]
    then
        perform _procrastinate_raise('PQ003',
            'End status should be either "succeeded", "failed" or "aborted"',
            format('Got %s.', p_statuses::text),
            'Use procrastinate_retry_jobs_v1 to retry.');
    end if;
    return true;
end;
$$;

comment on function _procrastinate_check_report(
    bigint, bigint[], bigint[], procrastinate_job_status[], boolean[]
) is 'Raises PQ003 (invalid argument) for a report of ended jobs that cannot be meant.';
