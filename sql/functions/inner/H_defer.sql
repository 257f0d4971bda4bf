-- – -> todo for jobs in parallel arrays. Bad ones are refused by name before any is written.
create function _procrastinate_check_jobs(
    p_queue_names text[],
    p_task_names text[],
    p_args jsonb[],
    p_lengths integer[] default '{}'
)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_job record;
begin
    if cardinality(p_queue_names) <> any(
        array[cardinality(p_task_names), coalesce(cardinality(p_args), 0)] || p_lengths
    ) then
        perform _procrastinate_raise('PQ003', 'The arrays of jobs differ in length',
            format('%s queue names, %s task names.', cardinality(p_queue_names),
                cardinality(p_task_names)),
            'Give each array one element a job; all but the names may be null.');
    end if;
    for v_job in
        select u.queue_name, u.task_name, u.args
        from unnest(p_queue_names, p_task_names, p_args) as u (queue_name, task_name, args)
        where
            coalesce(length(u.queue_name), 0) not between 1 and 128
            or coalesce(length(u.task_name), 0) not between 1 and 128
            or jsonb_typeof(u.args) <> 'object'
        limit 1
    loop
        perform _procrastinate_check_text(v_job.queue_name, 'queue name', 128, true);
        perform _procrastinate_check_text(v_job.task_name, 'task name', 128, true);
        perform _procrastinate_check_args(v_job.args);
    end loop;
end;
$$;

comment on function _procrastinate_check_jobs(text[], text[], jsonb[], integer[]) is
'Raises PQ003 (invalid argument) for the first job whose names or arguments cannot be.';

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
