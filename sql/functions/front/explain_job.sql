-- Why does this job not run? One row for each gate that it waits for or has passed.
create function procrastinate_explain_job(job_id bigint)
returns table (gate text, open boolean, detail text)
language plpgsql stable parallel safe security definer
set search_path from current
as $$
#variable_conflict use_column
declare
    v_job procrastinate_jobs;
    v_now constant timestamptz := procrastinate_now();
    v_row record;
begin
    perform _procrastinate_require_job($1);
    v_job := (select j from procrastinate_jobs as j where j.id = $1);

    return query values (
        'status', v_job.status = 'todo', _procrastinate_describe_job($1)
    );
    if v_job.status = 'doing' then
        return query
        select
            'worker', coalesce(w.last_heartbeat > v_now - interval '30 seconds', false),
            case
                when w.id is null then
                    'Its worker is gone: procrastinate_recover_stalled_jobs '
                    'gives the job to another.'
                else format(
                    'Worker %s%s has run it since %s; its last heartbeat was at %s.',
                    w.id, coalesce(' (' || w.name || ')', ''), d.started_at,
                    w.last_heartbeat
                )
            end
            || case when v_job.abort_requested then ' It was asked to abort.' else '' end
        from procrastinate_doing as d
        left join procrastinate_workers as w on w.id = d.worker_id
        where d.job_id = $1;
        return;
    elsif v_job.status <> 'todo' then
        return query
        select
            'history', false,
            format('%s at %s%s', e.type, e.at, coalesce(': ' || e.error, ''))
        from procrastinate_events as e
        where e.job_id = $1
        order by e.id;
        return;
    end if;

    return query values (
        'schedule',
        coalesce(v_job.scheduled_at <= v_now, true),
        case
            when v_job.scheduled_at is null then 'It may run at once.'
            else format('It may run from %s on.', v_job.scheduled_at)
        end
    );
    if v_job.lock is null then
        return query values ('lock', true, 'It has no lock.');
    elsif v_job.group_key is not null and v_job.scheduled_at > v_now then
        return query values (
            'lock', true, format('It joins the line of its group %s when it is due.',
                v_job.group_key)
        );
    else
        select x.open, x.detail into v_row
        from (
            select
                false as open, 0 as nr,
                format('Job %s holds the lock %s since %s.', d.job_id, d.lock, d.started_at)
                as detail
            from procrastinate_doing as d
            where d.lock = v_job.lock
            union all
            select h.open, h.nr, h.detail
            from (
                select
                    t.job_id = $1, 1,
                    case
                        when t.job_id = $1
                            then format('It is the next of the lock %s.', t.lock)
                        else format(
                            'Job %s of queue %s comes first for the lock %s%s.', t.job_id,
                            t.queue_name, t.lock, coalesce(', from ' || t.scheduled_at, '')
                        )
                    end
                from procrastinate_todo as t
                where t.lock = v_job.lock
                order by t.priority desc, t.job_id
                limit 1
            ) as h (open, nr, detail)
        ) as x (open, nr, detail)
        order by x.nr
        limit 1;
        return query values ('lock', v_row.open, v_row.detail);
    end if;

    select q.paused_at, q.pause_reason, q.paused_until into v_row
    from procrastinate_queues as q
    where
        q.queue_name = v_job.queue_name
        and q.paused_at is not null
        and coalesce(q.paused_until, 'infinity') > v_now;
    return query values (
        'queue', not found,
        case
            when v_row.paused_at is null
                then format('Queue %s is not paused.', v_job.queue_name)
            else format('Queue %s is paused since %s%s%s.',
                v_job.queue_name, v_row.paused_at,
                coalesce(' until ' || v_row.paused_until, ''),
                coalesce(': ' || v_row.pause_reason, ''))
        end
    );

    return query
    select
        'ahead', s.ahead = 0,
        format('%s jobs that may run come before it in queue %s.',
            s.ahead, v_job.queue_name)
    from (
        select count(*) as ahead
        from (
            select
            from procrastinate_todo as t
            where
                t.queue_name = v_job.queue_name
                and (t.state in ('r', 'a') or (t.state = 'd' and t.scheduled_at <= v_now))
                and (~t.priority, t.job_id) < (~v_job.priority, $1)
            limit 10000
        ) as x
    ) as s;

    return query
    select
        'workers', count(*) > 0,
        format('%s live workers serve queue %s.', count(*), v_job.queue_name)
    from procrastinate_workers as w
    where
        w.last_heartbeat > v_now - interval '30 seconds'
        and (w.queues is null or v_job.queue_name = any(w.queues));
end;
$$;

comment on function procrastinate_explain_job(bigint) is
'What a job waits for: gates status, schedule, lock, queue, ahead, workers. Raises PQ002.';
