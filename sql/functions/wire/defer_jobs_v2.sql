-- – -> todo for many jobs, all or nothing.
create function procrastinate_defer_jobs_v2(
    p_queue_names text[],
    p_task_names text[],
    p_priorities integer[],
    p_locks text[],
    p_queueing_locks text[],
    p_args jsonb[],
    p_scheduled_ats timestamptz[]
)
returns setof bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    return query
    select x.id
    from _procrastinate_defer_jobs(
        p_queue_names, p_task_names, p_priorities, p_locks, p_queueing_locks, p_args,
        p_scheduled_ats
    ) as x (id);
end;
$$;

comment on function procrastinate_defer_jobs_v2(
    text[], text[], integer[], text[], text[], jsonb[], timestamptz[]
) is 'Defers jobs, all or none; ids in the order given. Raises PQ003, unique_violation.';
