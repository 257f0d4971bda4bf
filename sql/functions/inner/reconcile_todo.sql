-- Makes the rows of todo true for these jobs, from their present rows. A job with a lock
-- stands blocked: the caller has the keys, and promotes the heads when all is written.
create function _procrastinate_reconcile_todo(p_job_ids bigint[])
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_now constant timestamptz := procrastinate_now();
begin
    delete from procrastinate_todo as t
    where
        t.job_id = any(p_job_ids)
        and not exists (
            select
            from (
                select x.id, x.status
                from procrastinate_jobs as x
                where x.id = any(p_job_ids)
            ) as j
            where j.id = t.job_id and j.status = 'todo'
        );

    update procrastinate_todo as t
    set
        queue_name = j.queue_name,
        priority = j.priority,
        lock = j.line,
        queueing_lock = j.queueing_lock,
        due_lock = case when j.line is null then j.lock end,
        scheduled_at = j.scheduled_at,
        state = case
            when j.line is not null then 'b'
            when j.scheduled_at > v_now then 'd'
            else 'a'
        end::"char",
        since = pg_current_xact_id(),
        head_xmin = null,
        free_after = null
    from (
        select
            x.id, x.status, x.queue_name, x.priority, x.lock, x.queueing_lock,
            x.scheduled_at,
            _procrastinate_line_lock(x.lock, x.group_key, x.scheduled_at, v_now) as line
        from procrastinate_jobs as x
        where x.id = any(p_job_ids)
    ) as j
    where
        t.job_id = any(p_job_ids)
        and t.job_id = j.id
        and j.status = 'todo'
        and (
            t.queue_name, t.priority, coalesce(t.lock, t.due_lock), t.queueing_lock,
            t.scheduled_at
        ) is distinct from (
            j.queue_name, j.priority, j.lock, j.queueing_lock, j.scheduled_at
        );

    insert into procrastinate_todo (
        job_id, since, scheduled_at, priority, state, queue_name, lock, queueing_lock,
        due_lock
    )
    select
        j.id, pg_current_xact_id(), j.scheduled_at, j.priority,
        case
            when l.line is not null then 'b'
            when j.scheduled_at > v_now then 'd'
            else 'a'
        end::"char",
        j.queue_name, l.line, j.queueing_lock, case when l.line is null then j.lock end
    from procrastinate_jobs as j
    cross join lateral _procrastinate_line_lock(
        j.lock, j.group_key, j.scheduled_at, v_now
    ) as l (line)
    where
        j.id = any(p_job_ids)
        and j.status = 'todo'
        and not exists (
            select
            from (
                select x.job_id from procrastinate_todo as x where x.job_id = any(p_job_ids)
            ) as t
            where t.job_id = j.id
        )
    order by j.queueing_lock, j.id;
end;
$$;

comment on function _procrastinate_reconcile_todo(bigint[]) is
'Derives todo anew for these jobs; those with a lock stand blocked.';
