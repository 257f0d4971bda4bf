-- Of 3.x: the next job of a worker, a row of nulls if there is none.
create function procrastinate_fetch_job_v2(
    target_queue_names character varying[], p_worker_id bigint
)
returns procrastinate_fetched_job_v2
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
    v_job procrastinate_fetched_job_v2;
    v_id bigint;
begin
    perform _procrastinate_clear_derived();
    v_id := (
        select e.job_id
        from procrastinate_finish_and_fetch_v1(
            p_worker_id, target_queue_names, 1, null, '{}', '{}', '{}', '{}'
        ) as e
        where e.outcome = 'claimed'
    );
    if v_id is not null then
        select
            j.id, j.queue_name, j.task_name, j.priority, j.lock, j.queueing_lock, j.args,
            j.status, j.scheduled_at, j.attempts, j.abort_requested, j.worker_id
        into v_job
        from procrastinate_jobs as j
        where j.id = v_id;
    end if;
    return v_job;
end;
$$;

comment on function procrastinate_fetch_job_v2(varchar[], bigint) is
'Called by 3.x: todo -> doing for a worker''s next job.';
