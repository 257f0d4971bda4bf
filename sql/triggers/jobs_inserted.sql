-- After an INSERT: todo and doing, the history and the wake-up, whoever wrote the rows. Of
-- the rows of one lock the first is ready: only a fetch can tell whether the lock is held.
create function _procrastinate_jobs_inserted()
returns trigger
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off
set jit = off
as $$
declare
    v_now constant timestamptz := procrastinate_now();
    v_todo bigint;
    v_doing bigint;
    v_ended bigint;
    v_nested constant boolean
        := coalesce(current_setting('procrastinate.nested', true), '') = 'on';
    v_keyed bigint[];
    v_group text;
    v_pair record;
    v_first bigint;
    v_queue text;
    v_priority integer;
    v_plain boolean;
    v_ok boolean;
begin
    select
        min(n.id), min(n.queue_name), min(n.priority),
        min(n.queue_name) = max(n.queue_name) and min(n.priority) = max(n.priority)
        and bool_and(
            n.status = 'todo' and not n.abort_requested
            and n.lock is null and n.queueing_lock is null and n.scheduled_at is null
            and n.key is null and n.group_key is null
        )
    into v_first, v_queue, v_priority, v_plain
    from new_jobs as n;

    -- most statements: jobs of one queue and priority, to run at once, without locks
    if v_plain and not v_nested then
        with waiting as (
            insert into procrastinate_todo (job_id, priority, state, queue_name)
            select n.id, n.priority, 'r', n.queue_name from new_jobs as n
        )
        insert into procrastinate_events (job_id, type, at)
        select n.id, 'deferred', v_now from new_jobs as n;
        v_ok := _procrastinate_tell(v_queue, v_priority, v_first);
        return null;
    end if;

    v_queue := null;
    select
        count(*) filter (where n.status = 'todo'),
        count(*) filter (where n.status = 'doing'),
        count(*) filter (where n.status > 'doing'),
        min(n.id) filter (where n.status = 'todo' and n.abort_requested),
        array_agg(n.id) filter (where n.key is not null),
        min(n.group_key) filter (where n.lock is null)
    into v_todo, v_doing, v_ended, v_first, v_keyed, v_group
    from new_jobs as n;
    if v_first is not null then
        perform _procrastinate_refuse_abort(v_first);
    elsif v_group is not null then
        perform _procrastinate_refuse_group(v_group);
    end if;

    if v_ended > 0 then
        insert into procrastinate_counts (queue_name, status, jobs)
        select n.queue_name, n.status, count(*) from new_jobs as n where n.status > 'doing'
        group by n.queue_name, n.status;
    end if;
    if v_doing > 0 or (v_todo > 0 and v_nested) then
        perform _procrastinate_reconcile(array(select n.id from new_jobs as n));
    elsif v_todo = 0 then
        return null;
    else  -- in one order, so that two batches do not wait for each other's queueing locks
        v_ok := v_keyed is null or _procrastinate_reconcile_keys(v_keyed);
        insert into procrastinate_todo (
            job_id, since, scheduled_at, priority, state, queue_name, lock, queueing_lock,
            due_lock
        )
        select
            n.id, case when n.line is not null then pg_current_xact_id() end,
            n.scheduled_at, n.priority,
            case
                when n.line is not null and n.nr > 1 then 'b'
                when n.scheduled_at > v_now then 'd'
                else 'r'
            end::"char",
            n.queue_name, n.line, n.queueing_lock, case when n.line is null then n.lock end
        from (
            select
                x.id, x.scheduled_at, x.priority, x.queue_name, x.lock, x.queueing_lock,
                l.line,
                row_number() over (partition by l.line order by ~x.priority, x.id) as nr
            from new_jobs as x
            cross join lateral _procrastinate_line_lock(
                x.lock, x.group_key, x.scheduled_at, v_now
            ) as l (line)
            where x.status = 'todo'
        ) as n
        order by n.queueing_lock, n.id;
    end if;

    insert into procrastinate_events (job_id, type, at)
    select n.id, e.type, case when e.nr = 1 then n.scheduled_at else v_now end
    from new_jobs as n
    cross join (
        values
            (1, 'scheduled'::procrastinate_job_event_type),
            (2, 'deferred'::procrastinate_job_event_type)
    ) as e (nr, type)
    where n.status = 'todo' and (e.nr = 2 or n.scheduled_at is not null)
    order by n.id, e.nr;

    if v_nested then  -- a trigger of a user may have deleted them again
        delete from procrastinate_events as e
        where
            e.job_id = any(array(select n.id from new_jobs as n))
            and e.job_id <> all(array(
                select j.id
                from procrastinate_jobs as j
                where j.id = any(array(select n.id from new_jobs as n))
            ));
    end if;

    for v_pair in
        select n.queue_name, n.priority, min(n.id) as job_id
        from new_jobs as n where n.status = 'todo'
        group by n.queue_name, n.priority order by n.queue_name, n.priority
    loop
        if v_queue = v_pair.queue_name then
            v_ok := _procrastinate_note_priority(v_queue, v_pair.priority);
        else
            v_queue := v_pair.queue_name;
            v_ok := _procrastinate_tell(v_queue, v_pair.priority, v_pair.job_id);
        end if;
    end loop;
    return null;
end;
$$;

comment on function _procrastinate_jobs_inserted() is
'Trigger after INSERT on procrastinate_jobs: derived rows, history, NOTIFY.';

create trigger procrastinate_jobs_inserted_v1
after insert on procrastinate_jobs
referencing new table as new_jobs
for each statement execute function _procrastinate_jobs_inserted();
