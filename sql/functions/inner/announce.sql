-- Tells the queues of waiting jobs that something changed, and running jobs to abort.
create function _procrastinate_announce(p_waiting bigint[], p_aborting bigint[])
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_row record;
begin
    for v_row in
        select j.queue_name, j.priority, min(j.id) as job_id
        from procrastinate_jobs as j
        where j.id = any(p_waiting) and j.status = 'todo'
        group by j.queue_name, j.priority
    loop
        perform _procrastinate_tell(v_row.queue_name, v_row.priority, v_row.job_id);
    end loop;
    for v_row in
        select j.queue_name, j.id as job_id
        from procrastinate_jobs as j
        where j.id = any(p_aborting)
        order by j.id
    loop
        perform _procrastinate_notify(
            v_row.queue_name, 'abort_job_requested', v_row.job_id
        );
    end loop;
end;
$$;

comment on function _procrastinate_announce(bigint[], bigint[]) is
'Tells of jobs that were put back or moved, and NOTIFYs of running ones asked to abort.';
