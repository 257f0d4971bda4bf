-- doing -> todo while the job's data allows another attempt, else failed, for one claim
-- whose locks are in hand; false where it does not hold. Its data allows none if it names
-- no number of attempts. A job that was asked to abort fails in any case.
create function _procrastinate_fail_by_policy(
    p_worker_id bigint,
    p_job_id bigint,
    p_claim_id bigint,
    p_error jsonb,
    p_delete boolean
)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_job procrastinate_jobs;
    v_kept record;
    v_held boolean;
begin
    v_job := (select j from procrastinate_jobs as j where j.id = p_job_id);
    if v_job.attempts < v_job.max_attempts - 1 and not v_job.abort_requested then
        v_held := _procrastinate_put_back(
            p_worker_id, p_job_id, p_claim_id, 1,
            procrastinate_now() + _procrastinate_retry_delay(v_job), null, null, null
        );
    else
        v_kept := _procrastinate_store_results(
            p_worker_id, array[p_job_id], array[p_claim_id], '{failed}', '{}',
            array[p_error], procrastinate_now()
        );
        v_held := (
            select f.outcome = 'finished'
            from procrastinate_finish_jobs_v1(
                p_worker_id, array[p_job_id], array[p_claim_id], '{failed}',
                array[p_delete]
            ) as f
        );
        perform _procrastinate_tell_ended(v_kept.o_stored);
    end if;
    if v_held then
        perform _procrastinate_note_errors(array[p_job_id], array[p_error]);
    end if;
    return v_held;
end;
$$;

comment on function _procrastinate_fail_by_policy(bigint, bigint, bigint, jsonb, boolean) is
'doing -> todo or failed for one claim, as the job''s data says; false: not held.';
