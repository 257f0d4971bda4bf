-- – -> todo: one job. The positional order is that of 2.x.
create function procrastinate_defer_job(
    queue_name text,
    task_name text,
    priority integer default 0,
    lock text default null,
    queueing_lock text default null,
    args jsonb default '{}',
    scheduled_at timestamptz default null
)
returns bigint
language plpgsql volatile parallel unsafe
set search_path from current
as $$
#variable_conflict use_column
declare
    v_id bigint;
begin
    if coalesce(length($1), 0) not between 1 and 128
        or coalesce(length($2), 0) not between 1 and 128
        or jsonb_typeof($6) <> 'object'
    then
        perform _procrastinate_check_jobs(array[$1], array[$2], array[$6]);
    end if;
    insert into procrastinate_jobs (
        queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at
    )
    values ($1, $2, coalesce($3, 0), $4, $5, coalesce($6, '{}'), $7)
    returning id into v_id;
    return v_id;
end;
$$;

comment on function procrastinate_defer_job(
    text, text, integer, text, text, jsonb, timestamptz
) is
'Defers one job and returns its id. Raises PQ003, unique_violation (queueing lock taken).';
