-- – -> todo for one tick of a periodic task with options, once.
create function procrastinate_defer_periodic_job_v4(
    p_task_name text,
    p_periodic_id text,
    p_defer_timestamp bigint,
    p_queue_name text,
    p_priority integer,
    p_lock text,
    p_queueing_lock text,
    p_args jsonb,
    p_options jsonb
)
returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    perform
        _procrastinate_check_tick(
            p_task_name, p_periodic_id, p_defer_timestamp, p_queue_name, p_args
        ),
        _procrastinate_check_options(array[p_options], array[p_lock]);
    return _procrastinate_defer_periodic(
        p_task_name, coalesce(p_periodic_id, ''), p_defer_timestamp, p_queue_name,
        p_priority, p_lock, p_queueing_lock, p_args, p_options
    );
end;
$$;

comment on function procrastinate_defer_periodic_job_v4(
    text, text, bigint, text, integer, text, text, jsonb, jsonb
) is 'Defers one tick of a periodic task with options; null if it was taken. Raises PQ003.';
