-- Of 3.x: a new worker. It does not say what it calls, and we know: this directory.
create function procrastinate_register_worker_v1()
returns table (worker_id bigint)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    worker_id := procrastinate_register_worker_v2(
        p_description => jsonb_build_object('wire', jsonb_build_array(
            'cancel_job_v1', 'defer_jobs_v1', 'defer_periodic_job_v2',
            'fetch_job_v2', 'finish_job_v1', 'prune_stalled_workers_v1',
            'register_worker_v1', 'retry_job_v1', 'retry_job_v2',
            'unregister_worker_v1', 'update_heartbeat_v1'
        ))
    );
    return next;
end;
$$;

comment on function procrastinate_register_worker_v1() is
'Called by 3.x: registers a worker and returns its id.';
