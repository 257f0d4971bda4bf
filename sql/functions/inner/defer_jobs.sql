-- The ids come in the order given: they are drawn in it, and the rows are inserted in it.
create function _procrastinate_defer_jobs(
    p_queue_names text[],
    p_task_names text[],
    p_priorities integer[],
    p_locks text[],
    p_queueing_locks text[],
    p_args jsonb[],
    p_scheduled_ats timestamptz[]
)
returns setof bigint
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    perform _procrastinate_check_jobs(p_queue_names, p_task_names, p_args, array[
        cardinality(p_priorities), cardinality(p_locks), cardinality(p_queueing_locks),
        cardinality(p_scheduled_ats)
    ]);
    return query
    insert into procrastinate_jobs as j (
        queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at
    )
    select
        u.queue_name, u.task_name, coalesce(u.priority, 0), u.lock, u.queueing_lock,
        coalesce(u.args, '{}'), u.scheduled_at
    from unnest(
        p_queue_names, p_task_names, p_priorities, p_locks, p_queueing_locks, p_args,
        p_scheduled_ats
    ) as u (queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at)
    returning j.id;
end;
$$;

comment on function _procrastinate_defer_jobs(
    text[], text[], integer[], text[], text[], jsonb[], timestamptz[]
) is 'Inserts jobs in todo; their ids in the order given. Raises PQ003, unique_violation.';
