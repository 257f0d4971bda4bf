-- – -> todo: many jobs, all or none.
create function procrastinate_defer_jobs(jobs procrastinate_job_to_defer_v1[])
returns setof bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    if array_position(jobs, null) is not null then
        perform _procrastinate_raise('PQ003', 'A job to defer is null', null,
            'Give rows of type procrastinate_job_to_defer_v1.');
    end if;
    perform _procrastinate_check_jobs(
        array(select j.queue_name from unnest(jobs) as j),
        array(select j.task_name from unnest(jobs) as j),
        array(select j.args from unnest(jobs) as j)
    );
    return query
    insert into procrastinate_jobs as i (
        queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at
    )
    select
        j.queue_name, j.task_name, coalesce(j.priority, 0), j.lock, j.queueing_lock,
        coalesce(j.args, '{}'), j.scheduled_at
    from unnest(jobs) as j
    returning i.id;
end;
$$;

comment on function procrastinate_defer_jobs(procrastinate_job_to_defer_v1[]) is
'Defers jobs, all or none; ids in the order given. Raises PQ003, unique_violation.';
