-- Is everything derived true? A row for every breach; none is what it should say.
create function procrastinate_check()
returns table (breach text, job_id bigint, detail text)
language plpgsql stable parallel safe security definer
set search_path from current
as $$
#variable_conflict use_column
begin
    return query
    select
        case
            when t.job_id is null then 'todo: row missing'
            when j.id is null then 'todo: row of no waiting job'
            else 'todo: row differs from its job'
        end,
        coalesce(j.id, t.job_id),
        format('job: %s; row: %s', to_jsonb(j), to_jsonb(t))
    from (
        select x.id, x.queue_name, x.priority, x.lock, x.queueing_lock, x.scheduled_at
        from procrastinate_jobs as x
        where x.status = 'todo'
    ) as j
    full join procrastinate_todo as t on t.job_id = j.id
    where
        j.id is null or t.job_id is null
        or (j.queue_name, j.priority, j.lock, j.queueing_lock, j.scheduled_at)
            is distinct from (
                t.queue_name, t.priority, coalesce(t.lock, t.due_lock), t.queueing_lock,
                t.scheduled_at
            )
        or (t.due_lock is not null and t.state <> 'd')
        or t.state not in ('r', 'a', 'd', 'b')
        or (t.state = 'b' and t.lock is null)
        or (t.state = 'd' and t.scheduled_at is null);

    return query
    select
        case
            when d.job_id is null then 'doing: row missing'
            when j.id is null then 'doing: row of no running job'
            else 'doing: row differs from its job'
        end,
        coalesce(j.id, d.job_id),
        format('job: %s; row: %s', to_jsonb(j), to_jsonb(d))
    from (
        select x.id, x.lock, x.worker_id
        from procrastinate_jobs as x
        where x.status = 'doing'
    ) as j
    full join procrastinate_doing as d on d.job_id = j.id
    where
        j.id is null or d.job_id is null
        or (j.lock, j.worker_id) is distinct from (d.lock, d.worker_id);

    return query
    select
        case when j.id is null then 'keys: row of no active job with this key'
            else 'keys: row missing, or of another job' end,
        coalesce(j.id, k.job_id), format('key %s', coalesce(j.key, k.key))
    from (
        select x.id, x.key
        from procrastinate_jobs as x
        where x.key is not null and x.status in ('todo', 'doing')
    ) as j
    full join procrastinate_keys as k on k.job_id = j.id and k.key = j.key
    where j.id is null or k.job_id is null;

    return query
    select 'lock: held by more than one job', min(d.job_id), format('lock %s', d.lock)
    from procrastinate_doing as d
    where d.lock is not null
    group by d.lock
    having count(*) > 1;

    return query
    select 'lock: its next job is blocked by nobody', h.job_id, format('lock %s', h.lock)
    from _procrastinate_lost_heads(
        array(
            select distinct t.lock from procrastinate_todo as t where t.state = 'b'
        )
    ) as h;

    return query
    select
        'queue: priority not known to fetches', min(t.job_id),
        format('queue %s, priority %s', t.queue_name, t.priority)
    from procrastinate_todo as t
    where
        not exists (
            select
            from procrastinate_priorities as p
            where
                p.queue_name = t.queue_name
                and coalesce(p.priority, t.priority) = t.priority
        )
    group by t.queue_name, t.priority;

    return query
    select
        'counts: number of finished jobs differs', null::bigint,
        format('queue %s, %s: counted %s, there are %s',
            coalesce(c.queue_name, j.queue_name), coalesce(c.status, j.status),
            coalesce(c.jobs, 0), coalesce(j.jobs, 0))
    from (
        select x.queue_name, x.status, sum(x.jobs) as jobs
        from procrastinate_counts as x
        group by x.queue_name, x.status
    ) as c
    full join (
        select x.queue_name, x.status, count(*) as jobs
        from procrastinate_jobs as x
        where x.status > 'doing'
        group by x.queue_name, x.status
    ) as j on j.queue_name = c.queue_name and j.status = c.status
    where coalesce(c.jobs, 0) <> coalesce(j.jobs, 0);

    return query
    select 'results: row of no job', r.job_id, null::text
    from procrastinate_results as r
    where
        r.status is null  -- else it outlives its job on purpose
        and not exists (select from procrastinate_jobs as j where j.id = r.job_id);

    return query
    select 'events: history of no job', e.job_id, format('%s events', count(*))
    from procrastinate_events as e
    where not exists (select from procrastinate_jobs as j where j.id = e.job_id)
    group by e.job_id;
end;
$$;

comment on function procrastinate_check() is
'Reads everything and returns a row for each thing derived that is not true; '
'writes nothing.';
