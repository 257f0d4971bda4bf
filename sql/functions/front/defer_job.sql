-- – -> todo: one job. The positional order is that of 2.x, then what the job's run and its
-- end are to keep to.
create function procrastinate_defer_job(
    queue_name text,
    task_name text,
    priority integer default 0,
    lock text default null,
    queueing_lock text default null,
    args jsonb default '{}',
    scheduled_at timestamptz default null,
    timeout interval default null,
    heartbeat interval default null,
    ttl interval default null,
    max_attempts integer default null,
    retry_delay interval default null,
    retry_backoff double precision default null,
    retry_delay_cap interval default null,
    retry_jitter boolean default null,
    key text default null,
    group_key text default null,
    keep_result boolean default null
)
returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
#variable_conflict use_column
declare
    v_id bigint;
begin
    if coalesce(length($1), 0) not between 1 and 128
        or coalesce(length($2), 0) not between 1 and 128
        or jsonb_typeof($6) <> 'object' or pg_column_size($6 || '{}') > 4096
        or octet_length(concat($4, $5)) > 2000
    then
        perform _procrastinate_check_jobs(array[$1], array[$2], array[$6]);
    end if;
    if num_nonnulls($8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) > 0 then
        return (
            select d.id
            from procrastinate_defer_jobs_v3(
                array[$1], array[$2], array[$3], array[$4], array[$5], array[$6], array[$7],
                array[jsonb_build_object(
                    'timeout', extract(epoch from $8),
                    'heartbeat', extract(epoch from $9),
                    'ttl', extract(epoch from $10),
                    'max_attempts', $11,
                    'retry_delay', extract(epoch from $12),
                    'retry_backoff', $13,
                    'retry_delay_cap', extract(epoch from $14),
                    'retry_jitter', $15, 'key', $16, 'group_key', $17, 'keep_result', $18
                )]
            ) as d (id)
        );
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
    text, text, integer, text, text, jsonb, timestamptz, interval, interval, interval,
    integer, interval, double precision, interval, boolean, text, text, boolean
) is
'Defers one job; returns its id. Raises PQ003, unique_violation (queueing lock or key).';
