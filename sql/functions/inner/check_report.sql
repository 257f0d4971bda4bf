-- Refuses a report, or a wish for so many jobs, that cannot be meant, before anything is
-- written.
create function _procrastinate_check_report(
    p_worker_id bigint,
    p_limit integer,
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
    v_whole constant boolean
        := v_count = coalesce(cardinality(p_claim_ids), 0)
            and v_count = coalesce(cardinality(p_statuses), 0)
            and coalesce(cardinality(p_delete), 0) in (0, v_count)
            and array_position(p_job_ids, null) is null
            and array_position(p_claim_ids, null) is null;
begin
    if p_worker_id is not null and p_limit between 0 and 10000 and (
        v_count = 0
        or v_whole and p_statuses
            <@ array['succeeded', 'failed', 'aborted']::procrastinate_job_status[]
    ) then
        return true;
    end if;
    if (p_limit between 0 and 10000) is not true then
        perform _procrastinate_raise('PQ003',
            format('The number of jobs to fetch is %s', coalesce(p_limit::text, 'null')),
            null, 'Ask for 0 to 10000 jobs.');
    end if;
    if p_worker_id is null then
        perform _procrastinate_raise('PQ003', 'The worker''s id is null', null,
            'Give the id that procrastinate_register_worker_v2 returned.');
    end if;
    if not v_whole then
        perform _procrastinate_raise('PQ003',
            'The arrays of ended jobs differ in length, or hold a null',
            format('%s jobs, %s claims, %s statuses.', v_count,
                coalesce(cardinality(p_claim_ids), 0),
                coalesce(cardinality(p_statuses), 0)),
            'Give one claim and one status for each job.');
    end if;
    perform _procrastinate_raise('PQ003',
        'End status should be either "succeeded", "failed" or "aborted"',
        format('Got %s.', p_statuses::text),
        'Use procrastinate_retry_jobs_v1 to retry.');
    return false;
end;
$$;

comment on function _procrastinate_check_report(
    bigint, integer, bigint[], bigint[], procrastinate_job_status[], boolean[]
) is 'Raises PQ003 (invalid argument) for a report of ended jobs that cannot be meant.';
