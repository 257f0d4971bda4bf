-- doing or failed -> todo by hand, whoever holds the claim. A job in doing never stays
-- there because something is in the way: see put_back. False where the status does not
-- allow it.
create function _procrastinate_retry(
    p_job_id bigint,
    p_retry_at timestamptz,
    p_priority integer,
    p_queue_name text,
    p_lock text
)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_claim record;
begin
    select d.claim_id, d.worker_id into v_claim
    from procrastinate_doing as d
    where d.job_id = p_job_id;
    if found and _procrastinate_put_back(
        coalesce(v_claim.worker_id, 0), p_job_id, v_claim.claim_id, 1, p_retry_at,
        p_priority, p_queue_name, p_lock
    ) then
        return true;
    end if;
    update procrastinate_jobs as j
    set
        status = 'todo',
        attempts = least(j.attempts, 2147483646) + 1,
        abort_requested = false,
        scheduled_at = p_retry_at,
        priority = coalesce(p_priority, j.priority),
        queue_name = coalesce(p_queue_name, j.queue_name),
        lock = coalesce(
            p_lock, _procrastinate_group_lock(p_queue_name, j.group_key), j.lock
        )
    where j.id = p_job_id and j.status = 'failed';
    return found;
end;
$$;

comment on function _procrastinate_retry(bigint, timestamptz, integer, text, text) is
'doing or failed -> todo by hand; false where the status of the job does not allow it.';
