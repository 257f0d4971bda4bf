-- What a job is, for the DETAIL of an error.
create function _procrastinate_describe_job(p_job_id bigint)
returns text
language plpgsql stable parallel safe
set search_path from current
as $$
declare
    v_job record;
begin
    select j.status, j.task_name, j.queue_name, j.attempts, j.worker_id into v_job
    from procrastinate_jobs as j
    where j.id = p_job_id;
    if not found then
        return format('There is no job %s.', p_job_id);
    end if;
    return format(
        'Job %s (%s on queue %s) is %s, with %s attempts%s.',
        p_job_id, v_job.task_name, v_job.queue_name, v_job.status, v_job.attempts,
        coalesce(', worker ' || v_job.worker_id, '')
    );
end;
$$;

comment on function _procrastinate_describe_job(bigint) is
'A sentence on the present state of a job, for errors.';
