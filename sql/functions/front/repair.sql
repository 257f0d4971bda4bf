-- Derives todo and doing anew from procrastinate_jobs: after a restore or a replica that
-- fired no trigger. Everybody who writes jobs waits meanwhile. Claims are numbered anew, so
-- that whoever ran a job before cannot end it: those jobs are stalled, and recovered as
-- such.
create function procrastinate_repair()
returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
declare
    v_breaches bigint;
    v_cancelled bigint[];
    v_now constant timestamptz := procrastinate_now();
begin
    perform _procrastinate_clear_derived();
    lock table procrastinate_jobs in share row exclusive mode;
    select count(*) into v_breaches from procrastinate_check();
    if v_breaches = 0 then
        return 0;
    end if;
    perform _procrastinate_repair_keys();

    -- of jobs that wait with one queueing lock only the first may
    with twice as (
        select x.id, x.queueing_lock, x.nr
        from (
            select
                j.id, j.queueing_lock,
                row_number() over (partition by j.queueing_lock order by j.id) as nr
            from procrastinate_jobs as j
            where j.status = 'todo' and j.queueing_lock is not null
        ) as x
        where x.nr > 1
    ),
    cancelled as (
        update procrastinate_jobs as j
        set status = 'cancelled'
        from twice as t
        where j.id = t.id
        returning j.id
    )
    select array_agg(c.id) into v_cancelled from cancelled as c;
    update procrastinate_events as e
    set error = 'Cancelled by procrastinate_repair: '
        'another job waits with its queueing lock'
    where
        e.job_id = any(v_cancelled)
        and e.id = (
            select max(x.id) from procrastinate_events as x where x.job_id = e.job_id
        );

    -- of jobs that run under one lock all but the first claimed, or first deferred, wait
    -- again
    update procrastinate_jobs as j
    set status = 'todo', abort_requested = false
    from (
        select
            x.id,
            row_number() over (
                partition by x.lock order by d.claim_id nulls last, x.id
            ) as nr
        from procrastinate_jobs as x
        left join procrastinate_doing as d on d.job_id = x.id
        where x.status = 'doing' and x.lock is not null
    ) as h
    where j.id = h.id and h.nr > 1;

    delete from procrastinate_doing as d
    where
        not exists (
            select
            from procrastinate_jobs as j
            where
                j.id = d.job_id
                and j.status = 'doing'
                and (j.lock, j.worker_id) is not distinct from (d.lock, d.worker_id)
        );
    insert into procrastinate_doing (
        job_id, worker_id, started_at, deadline_at, heartbeat_at, priority, lock
    )
    select
        j.id, j.worker_id, v_now, v_now + j.timeout, v_now + j.heartbeat, j.priority, j.lock
    from procrastinate_jobs as j
    where
        j.status = 'doing'
        and not exists (select from procrastinate_doing as d where d.job_id = j.id);

    delete from procrastinate_todo;
    insert into procrastinate_todo (
        job_id, since, scheduled_at, priority, state, queue_name, lock, queueing_lock,
        due_lock
    )
    select
        j.id, pg_current_xact_id(), j.scheduled_at, j.priority,
        case
            when j.line is not null and (
                j.nr > 1
                or exists (select from procrastinate_doing as d where d.lock = j.line)
            ) then 'b'
            when j.scheduled_at > v_now then 'd'
            else 'a'
        end::"char",
        j.queue_name, j.line, j.queueing_lock, case when j.line is null then j.lock end
    from (
        select
            x.id, x.scheduled_at, x.priority, x.queue_name, x.lock, x.queueing_lock,
            l.line,
            row_number() over (partition by l.line order by ~x.priority, x.id) as nr
        from procrastinate_jobs as x
        cross join lateral _procrastinate_line_lock(
            x.lock, x.group_key, x.scheduled_at, v_now
        ) as l (line)
        where x.status = 'todo'
    ) as j
    order by j.queueing_lock, j.id;

    perform
        _procrastinate_note_priority(p.queue_name, p.priority),
        _procrastinate_notify(p.queue_name, 'job_inserted', p.job_id)
    from (
        select t.queue_name, t.priority, min(t.job_id) as job_id
        from procrastinate_todo as t
        group by t.queue_name, t.priority
    ) as p;
    delete from procrastinate_counts;
    insert into procrastinate_counts (queue_name, status, jobs)
    select j.queue_name, j.status, count(*)
    from procrastinate_jobs as j
    where j.status > 'doing'
    group by j.queue_name, j.status;
    delete from procrastinate_results as r
    where
        r.status is null
        and not exists (select from procrastinate_jobs as j where j.id = r.job_id);
    delete from procrastinate_events as e
    where not exists (select from procrastinate_jobs as j where j.id = e.job_id);
    return v_breaches;
end;
$$;

comment on function procrastinate_repair() is
'Derives todo and doing anew from the jobs; how many breaches procrastinate_check() had '
'found.';
