-- – -> todo for jobs in parallel arrays. Bad ones are refused by name before any is
-- written.
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
    v_most constant integer := 1000000;  -- some seconds, and a gigabyte of memory
begin
    if cardinality(p_queue_names) <> cardinality(p_task_names)
        or cardinality(p_queue_names) < any(p_lengths || cardinality(p_args))
    then
        perform _procrastinate_raise('PQ003', 'The arrays of jobs differ in length',
            format('%s queue names, %s task names.', cardinality(p_queue_names),
                cardinality(p_task_names)),
            'Give a queue and a task for each job; the other arrays may be shorter.');
    end if;
    if cardinality(p_queue_names) > v_most then
        perform _procrastinate_raise('PQ003',
            format('There are %s jobs to defer: at most %s in one call',
                cardinality(p_queue_names), v_most),
            null, 'Defer them in several calls.');
    end if;
    for v_job in
        select u.queue_name, u.task_name, u.args
        from unnest(p_queue_names, p_task_names, p_args) as u (queue_name, task_name, args)
        where
            coalesce(length(u.queue_name), 0) not between 1 and 128
            or coalesce(length(u.task_name), 0) not between 1 and 128
            or jsonb_typeof(u.args) <> 'object'
            or pg_column_size(u.args) > 4096  -- which no array keeps toasted
    loop
        perform _procrastinate_check_text(v_job.queue_name, 'queue name', 128, true);
        perform _procrastinate_check_text(v_job.task_name, 'task name', 128, true);
        perform _procrastinate_check_args(v_job.args);
    end loop;
end;
$$;

comment on function _procrastinate_check_jobs(text[], text[], jsonb[], integer[]) is
'Raises PQ003 (invalid argument) for the first job whose names or arguments cannot be.';
