-- doing -> todo for one claim; failed instead where the job was asked to abort, or where
-- another job waits with its queueing lock: nothing stays in doing because something is in
-- the way. The reason stands in the event.
create function _procrastinate_put_back(
    p_worker_id bigint,
    p_job_id bigint,
    p_claim_id bigint,
    p_counted integer,
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
    v_reason text;
begin
    begin
        update procrastinate_jobs as j
        set
            status = case
                when j.abort_requested then 'failed' else 'todo'
            end::procrastinate_job_status,
            attempts = least(j.attempts, 2147483646)
                + case when j.abort_requested then 0 else p_counted end,
            scheduled_at = case
                when j.abort_requested or p_counted = 0 then j.scheduled_at
                else p_retry_at
            end,
            priority = coalesce(p_priority, j.priority),
            queue_name = coalesce(p_queue_name, j.queue_name),
            lock = coalesce(
                p_lock, _procrastinate_group_lock(p_queue_name, j.group_key), j.lock
            )
        from procrastinate_doing as d
        where
            j.id = p_job_id
            and d.job_id = p_job_id
            and d.claim_id = p_claim_id
            and j.status = 'doing'
            and coalesce(j.worker_id, p_worker_id) = p_worker_id;
        return found;
    exception
        when unique_violation then
            get stacked diagnostics v_reason = constraint_name;
            if v_reason <> 'procrastinate_jobs_queueing_lock_idx_v1' then
                raise;
            end if;
    end;

    update procrastinate_jobs as j
    set status = 'failed', attempts = least(j.attempts, 2147483646) + p_counted,
        abort_requested = false
    from procrastinate_doing as d
    where
        j.id = p_job_id
        and d.job_id = p_job_id
        and d.claim_id = p_claim_id
        and j.status = 'doing'
        and coalesce(j.worker_id, p_worker_id) = p_worker_id;
    if not found then
        return false;
    end if;
    update procrastinate_events as e
    set error = format(
        'Not put back: another job waits with the queueing lock %s',
        (select j.queueing_lock from procrastinate_jobs as j where j.id = p_job_id)
    )
    where
        e.job_id = p_job_id
        and e.id = (
            select max(x.id) from procrastinate_events as x where x.job_id = p_job_id
        );
    return true;
end;
$$;

comment on function _procrastinate_put_back(
    bigint, bigint, bigint, integer, timestamptz, integer, text, text
) is 'doing -> todo for one claim, or failed if that cannot be; false if it does not hold.';
