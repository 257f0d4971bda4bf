-- After an UPDATE: refuses what the state machine does not allow, then todo and doing, the
-- history, the next holder of a lock and the wake-ups, whoever wrote the rows.
--
-- The two changes that each job goes through have a short way, for statements that make no
-- other. All others, and those where a user's trigger has changed the jobs again before us, are
-- derived from the jobs' present rows.
create function _procrastinate_jobs_updated()
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
    v_nested constant text := coalesce(current_setting('procrastinate.nested', true), '');
    v_ids bigint[];
    v_locks text[];
    v_queues text[];
    v_aborts boolean[];
    v_statuses procrastinate_job_status[];  -- as [first, last], then of each changed job
    v_new_statuses procrastinate_job_status[];
    v_plain boolean;
    v_handed bigint[];
    v_ok boolean;
begin
    if pg_trigger_depth() > 1 then
        v_ok := set_config('procrastinate.nested', 'on', true) is not null;
    end if;

    select o.range, o.locks, n.ids, n.range, n.plain and (o.locks is not null or n.free)
    into v_statuses, v_locks, v_ids, v_new_statuses, v_plain
    from (
        select
            array[min(x.status), max(x.status)] as range,
            array_agg(distinct x.lock) filter (where x.lock is not null) as locks
        from old_jobs as x
    ) as o
    cross join (
        select
            array_agg(x.id) as ids,
            array[min(x.status), max(x.status)] as range,
            not bool_or(x.abort_requested or x.status in ('cancelled', 'aborting')) as plain,
            bool_and(x.lock is null) as free
        from new_jobs as x
    ) as n;
    if v_ids is null then
        return null;
    end if;

    if v_plain and v_nested <> 'on'
        and (
            (v_statuses = '{todo,todo}' and v_new_statuses = '{doing,doing}')
            or (v_statuses = '{doing,doing}' and v_new_statuses[1] > 'doing')
        )
        and (
            v_locks is null
            or not exists (  -- a lock that changes with the status: both lines are looked at
                select
                from old_jobs as o
                join new_jobs as n on n.id = o.id
                where o.lock is distinct from n.lock
            )
        )
    then
        if v_new_statuses[1] > 'doing' then
            v_ok := _procrastinate_jobs_ended(v_ids, v_locks);
            insert into procrastinate_events (job_id, type, at, attempt, worker_id)
            select
                n.id, _procrastinate_event_of('doing', n.status), v_now, n.attempts, n.worker_id
            from new_jobs as n;
            insert into procrastinate_counts (queue_name, status, jobs)
            select n.queue_name, n.status, count(*)
            from new_jobs as n
            group by n.queue_name, n.status;
            return null;
        end if;
        if v_locks is null then
            insert into procrastinate_doing (job_id, worker_id, started_at, priority)
            select n.id, n.worker_id, v_now, n.priority
            from new_jobs as n;
        else
            v_handed := nullif(current_setting('procrastinate.handover', true), '')::bigint[];
            if (v_ids <@ v_handed[3:]) is not true then
                v_ok := _procrastinate_jobs_started(v_ids, v_locks, v_handed[3:]);
            end if;
            insert into procrastinate_doing (
                job_id, worker_id, head_xmin, started_at, priority, lock
            )
            select
                n.id, n.worker_id,
                case
                    when n.id = any(v_handed[3:]) then v_handed[1]::text::xid8
                    else t.head_xmin
                end,
                v_now, n.priority, n.lock
            from new_jobs as n
            left join (
                select x.job_id, x.head_xmin
                from procrastinate_todo as x
                where x.job_id = any(v_ids)
            ) as t on t.job_id = n.id;
        end if;
        delete from procrastinate_todo as t where t.job_id = any(v_ids);
        insert into procrastinate_events (job_id, type, at, attempt, worker_id)
        select n.id, 'started', v_now, n.attempts, n.worker_id
        from new_jobs as n;
        return null;
    end if;

    -- every other change
    select
        array_agg(c.id), array_agg(c.old), array_agg(c.new), array_agg(c.abort),
        array_agg(c.queue_name)
    into v_ids, v_statuses, v_new_statuses, v_aborts, v_queues
    from (
        select
            n.id, o.status as old, n.status as new, o.queue_name,
            n.abort_requested and not o.abort_requested as abort
        from old_jobs as o
        join new_jobs as n on n.id = o.id
        where
            (o.status, o.abort_requested, o.queue_name, o.priority, o.lock, o.queueing_lock,
                o.scheduled_at, o.worker_id)
            is distinct from (n.status, n.abort_requested, n.queue_name, n.priority, n.lock,
                n.queueing_lock, n.scheduled_at, n.worker_id)
            or (n.status = 'todo' and n.scheduled_at is not null)
        order by n.id
    ) as c;
    if v_ids is not null then
        v_ok := _procrastinate_jobs_changed(
            v_ids, v_statuses, v_new_statuses, v_aborts, v_queues, v_locks
        );
    end if;
    return null;
end;
$$;

comment on function _procrastinate_jobs_updated() is
'Trigger after UPDATE on procrastinate_jobs: state machine, derived rows, history, NOTIFY.';

create trigger procrastinate_jobs_updated_v1
after update on procrastinate_jobs
referencing old table as old_jobs new table as new_jobs
for each statement execute function _procrastinate_jobs_updated();
