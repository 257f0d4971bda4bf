-- After an UPDATE: refuses what the state machine does not allow, then todo and doing, the
-- history, the next holder of a lock and the wake-ups, whoever wrote the rows.
--
-- The transition tables say which jobs changed and how: that is the history. The two changes
-- that each job goes through have a short way, for statements that change nothing else; all
-- others, and all where a trigger of a user has changed these jobs once more before us, are
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
    v_nested constant boolean
        := coalesce(current_setting('procrastinate.nested', true), '') = 'on';
    v_now constant timestamptz := procrastinate_now();
    v_ids bigint[];
    v_locks text[];
    v_from procrastinate_job_status;
    v_from_last procrastinate_job_status;
    v_to procrastinate_job_status;
    v_to_last procrastinate_job_status;
    v_plain boolean;
    v_locked boolean;
    v_handed bigint[];
    v_ok boolean;
begin
    if pg_trigger_depth() > 1 then
        v_ok := set_config('procrastinate.nested', 'on', true) is not null;
    end if;

    select
        o.first, o.last, o.locks,
        n.ids, n.first, n.last, n.plain, coalesce(n.locked, false)
    into v_from, v_from_last, v_locks, v_ids, v_to, v_to_last, v_plain, v_locked
    from (
        select
            min(x.status) as first,
            max(x.status) as last,
            array_agg(distinct x.lock) filter (where x.lock is not null) as locks
        from old_jobs as x
    ) as o
    cross join (
        select
            array_agg(x.id) as ids,
            min(x.status) as first,
            max(x.status) as last,
            not bool_or(x.abort_requested or x.status in ('cancelled', 'aborting')) as plain,
            bool_or(x.lock is not null) as locked
        from new_jobs as x
    ) as n;
    if v_ids is null then
        return null;
    end if;

    if v_plain and not v_nested and v_from = v_from_last
        and (
            (v_from = 'todo' and v_to = 'doing' and v_to_last = 'doing')
            or (v_from = 'doing' and v_to > 'doing')
        )
        and (
            (v_locks is null and not v_locked)
            or not exists (  -- a lock that changes with the status: both lines are looked at
                select
                from old_jobs as o
                join new_jobs as n on n.id = o.id
                where o.lock is distinct from n.lock
            )
        )
    then
        if v_to > 'doing' then
            if v_locks is null then
                delete from procrastinate_doing as d where d.job_id = any(v_ids);
            else
                v_ok := _procrastinate_jobs_ended(v_ids, v_locks);
            end if;
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
    select array_agg(n.id order by n.id) into v_ids
    from old_jobs as o
    join new_jobs as n on n.id = o.id
    where
        o.status <> n.status
        or o.abort_requested <> n.abort_requested
        or (n.status = 'todo' and n.scheduled_at is not null)
        or (
            n.status in ('todo', 'doing')
            and (
                o.queue_name, o.priority, o.lock, o.queueing_lock, o.scheduled_at, o.worker_id
            ) is distinct from (
                n.queue_name, n.priority, n.lock, n.queueing_lock, n.scheduled_at, n.worker_id
            )
        );
    if v_ids is null then
        return null;
    end if;
    perform _procrastinate_refuse_transition(o.id, o.status, n.status)
    from old_jobs as o
    join new_jobs as n on n.id = o.id
    where
        o.status <> n.status
        and n.status <> 'todo'
        and not (
            (o.status = 'todo' and n.status <> 'aborting')
            or (o.status = 'doing' and n.status in ('succeeded', 'failed', 'aborted'))
        );
    if exists (
        select
        from old_jobs as o
        join new_jobs as n on n.id = o.id
        where o.status = 'todo' and n.status = 'doing' and n.lock is not null
    ) then
        v_ok := _procrastinate_refuse_old_snapshot('Starting a job that has a lock');
    end if;

    perform _procrastinate_reconcile(v_ids, v_locks);

    insert into procrastinate_events (job_id, type, at, attempt, worker_id)
    select
        n.id, e.type, coalesce(e.at, v_now), n.attempts,
        case when n.status = 'doing' or o.status = 'doing' then n.worker_id end
    from new_jobs as n
    join old_jobs as o on o.id = n.id
    cross join lateral (
        select 1 as nr, 'abort_requested'::procrastinate_job_event_type as type,
            null::timestamptz as at
        where n.abort_requested and not o.abort_requested
        union all
        select 2, 'scheduled', n.scheduled_at
        where n.status = 'todo' and n.scheduled_at is not null
        union all
        select 3, _procrastinate_event_of(o.status, n.status), null
        where _procrastinate_event_of(o.status, n.status) is not null
    ) as e
    where
        n.id = any(v_ids)
        and (
            not v_nested
            or n.id = any(array(
                select j.id from procrastinate_jobs as j where j.id = any(v_ids)
            ))
        )
    order by n.id, e.nr;

    insert into procrastinate_counts (queue_name, status, jobs)
    select x.queue_name, x.status, sum(x.jobs)
    from (
        select n.queue_name, n.status, 1 as jobs
        from new_jobs as n
        where n.status > 'doing'
        union all
        select o.queue_name, o.status, -1
        from old_jobs as o
        where o.status > 'doing'
    ) as x
    group by x.queue_name, x.status
    having sum(x.jobs) <> 0;

    perform _procrastinate_announce(
        array(
            select n.id
            from new_jobs as n
            where n.id = any(v_ids) and n.status = 'todo'
        ),
        array(
            select n.id
            from new_jobs as n
            join old_jobs as o on o.id = n.id
            where n.status = 'doing' and n.abort_requested and not o.abort_requested
        )
    );
    return null;
end;
$$;

comment on function _procrastinate_jobs_updated() is
'Trigger after UPDATE on procrastinate_jobs: state machine, derived rows, history, NOTIFY.';

create trigger procrastinate_jobs_updated_v1
after update on procrastinate_jobs
referencing old table as old_jobs new table as new_jobs
for each statement execute function _procrastinate_jobs_updated();

-- A job's number is its address in every other table.
create function _procrastinate_jobs_refuse_id()
returns trigger
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    perform _procrastinate_raise(
        'PQ006',
        format('The id of job %s cannot be changed to %s', old.id, new.id),
        'Events, results and users'' own tables know the job by its id.',
        'Defer a new job instead.'
    );
    return null;
end;
$$;

comment on function _procrastinate_jobs_refuse_id() is
'Trigger before UPDATE of id on procrastinate_jobs. Raises PQ006 (id change).';

create trigger procrastinate_jobs_refuse_id_v1
before update of id on procrastinate_jobs
for each row
when (old.id is distinct from new.id)
execute function _procrastinate_jobs_refuse_id();
