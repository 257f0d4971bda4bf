-- Of 3.x: one tick of a periodic task.
create function procrastinate_defer_periodic_job_v2(
    _queue_name character varying,
    _lock character varying,
    _queueing_lock character varying,
    _task_name character varying,
    _priority integer,
    _periodic_id character varying,
    _defer_timestamp bigint,
    _args jsonb
)
returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    return _procrastinate_defer_periodic(
        _task_name, _periodic_id, _defer_timestamp, _queue_name, _priority, _lock,
        _queueing_lock, _args, null
    );
end;
$$;

comment on function procrastinate_defer_periodic_job_v2(
    varchar, varchar, varchar, varchar, integer, varchar, bigint, jsonb
) is 'Called by 3.x: defers one tick of a periodic task, or returns null if it was taken.';
