-- – -> todo for jobs with options, the ids given ones or drawn in the order given. The rest
-- of _procrastinate_defer_jobs, which has fewer columns to write.
create function _procrastinate_defer_with_options(
    p_queue_names text[],
    p_task_names text[],
    p_priorities integer[],
    p_locks text[],
    p_queueing_locks text[],
    p_args jsonb[],
    p_scheduled_ats timestamptz[],
    p_options jsonb[],
    p_ids bigint[]
)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    insert into procrastinate_jobs (
        id, queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at,
        timeout, heartbeat, ttl, max_attempts, retry_delay, retry_backoff,
        retry_delay_cap, retry_jitter, key, group_key, keep_result
    )
    select
        u.id, u.queue_name, u.task_name, coalesce(u.priority, 0),
        coalesce(
            u.lock, _procrastinate_group_lock(u.queue_name, u.options ->> 'group_key')
        ),
        u.queueing_lock, coalesce(u.args, '{}'), u.scheduled_at,
        make_interval(secs => (u.options ->> 'timeout')::double precision),
        make_interval(secs => (u.options ->> 'heartbeat')::double precision),
        make_interval(secs => (u.options ->> 'ttl')::double precision),
        (u.options ->> 'max_attempts')::integer,
        make_interval(secs => (u.options ->> 'retry_delay')::double precision),
        (u.options ->> 'retry_backoff')::double precision,
        make_interval(secs => (u.options ->> 'retry_delay_cap')::double precision),
        (u.options ->> 'retry_jitter')::boolean,
        u.options ->> 'key',
        u.options ->> 'group_key',
        (u.options ->> 'keep_result')::boolean
    from unnest(
        p_ids, p_queue_names, p_task_names, p_priorities, p_locks, p_queueing_locks,
        p_args, p_scheduled_ats, p_options
    ) as u (
        id, queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at,
        options
    );
    insert into procrastinate_results (job_id, meta, updated_at)
    select u.id, u.options -> 'meta', procrastinate_now()
    from unnest(p_ids, p_options) as u (id, options)
    where jsonb_typeof(u.options -> 'meta') = 'object';
end;
$$;

comment on function _procrastinate_defer_with_options(
    text[], text[], integer[], text[], text[], jsonb[], timestamptz[], jsonb[], bigint[]
) is 'Inserts jobs with these ids and options in todo. Raises unique_violation.';
