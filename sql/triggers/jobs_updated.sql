-- After an UPDATE: refuses what the state machine does not allow, then todo and doing, the
-- history, the next holder of a lock and the wake-ups, whoever wrote the rows. The two
-- changes that each job goes through have a short way. All others, and those where a user's
-- trigger has changed the jobs again before us, are derived from their present rows.
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
    v_old_ids bigint[];
    v_locks text[];
    v_queues text[];
    v_aborts boolean[];
    v_statuses procrastinate_job_status[];  -- first and last, then of each changed job
    v_new_statuses procrastinate_job_status[];
    v_plain boolean;
    v_released procrastinate_doing[];
    v_ok boolean;
begin
    if pg_trigger_depth() > 1 then
        v_ok := set_config('procrastinate.nested', 'on', true) is not null;
    end if;

    select
        o.range, o.locks, n.ids, n.range, o.ids,
        n.plain and (o.locks is not null or n.free) and v_nested <> 'on'
        and (
            (o.range = '{todo,todo}' and n.range = '{doing,doing}')
            or (o.range = '{doing,doing}' and n.range[1] > 'doing')
        )
    into v_statuses, v_locks, v_ids, v_new_statuses, v_old_ids, v_plain
    from (
        select
            array_agg(x.id order by x.id) as ids,
            array[min(x.status), max(x.status)] as range,
            array_agg(distinct x.lock) filter (where x.lock is not null) as locks
        from old_jobs as x
    ) as o
    cross join (
        select
            array_agg(x.id order by x.id) as ids,
            array[min(x.status), max(x.status)] as range,
            not bool_or(x.abort_requested or x.status in ('cancelled', 'aborting')
                or x.key is not null) as plain,
            bool_and(x.lock is null) as free
        from new_jobs as x
    ) as n;
    if v_ids is null then
        return null;
    elsif v_ids <> v_old_ids then
        v_ok := _procrastinate_refuse_ids(v_old_ids, v_ids);
    elsif v_plain and v_locks is not null then  -- a lock that changes too has two lines
        v_plain := not exists (
            select from old_jobs as o join new_jobs as n on n.id = o.id
            where o.lock is distinct from n.lock
        );
    end if;

    if v_plain and v_new_statuses[1] > 'doing' then
        if v_locks is not null then
            v_ok := _procrastinate_take_locks(v_locks);
        end if;
        with gone as (
            delete from procrastinate_doing as d
            where d.job_id = any(v_ids)
            returning d as claim, d.lock
        ),
        told as (
            insert into procrastinate_events (job_id, type, at, attempt, by_worker_id)
            select n.id, _procrastinate_event_of('doing', n.status), v_now, n.attempts,
                n.worker_id
            from new_jobs as n
        ),
        counted as (
            insert into procrastinate_counts (queue_name, status, jobs)
            select n.queue_name, n.status, count(*) from new_jobs as n group by 1, 2
        )
        select array_agg(g.claim) into v_released from gone as g where g.lock is not null;
        if v_released is not null then
            v_ok := _procrastinate_promote(v_released, '{}');
        end if;
        return null;
    elsif v_plain then
        if v_locks is not null then
            v_ok := _procrastinate_jobs_started(v_ids, v_locks);
        end if;
        with started as (
            insert into procrastinate_doing (
                job_id, worker_id, head_xmin, started_at, deadline_at, heartbeat_at,
                priority, lock
            )
            select
                n.id, n.worker_id,
                case
                    when n.lock is not null then (
                        select t.head_xmin from procrastinate_todo as t
                        where t.job_id = n.id
                    )
                end,
                v_now, v_now + n.timeout, v_now + n.heartbeat, n.priority, n.lock
            from new_jobs as n
        ),
        gone as (delete from procrastinate_todo as t where t.job_id = any(v_ids))
        insert into procrastinate_events (job_id, type, at, attempt, by_worker_id)
        select n.id, 'started', v_now, n.attempts, n.worker_id from new_jobs as n;
        return null;
    end if;

    -- every other change
    perform _procrastinate_refuse_abort(n.id)
    from new_jobs as n where n.status = 'todo' and n.abort_requested;
    select
        array_agg(n.id), array_agg(o.status), array_agg(n.status), array_agg(o.queue_name),
        array_agg(n.abort_requested and not o.abort_requested)
    into v_ids, v_statuses, v_new_statuses, v_queues, v_aborts
    from old_jobs as o join new_jobs as n on n.id = o.id
    where
        (o.status, o.abort_requested, o.queue_name, o.priority, o.lock, o.queueing_lock,
            o.scheduled_at, o.worker_id, o.key)
        is distinct from (n.status, n.abort_requested, n.queue_name, n.priority, n.lock,
            n.queueing_lock, n.scheduled_at, n.worker_id, n.key)
        or (n.status = 'todo' and n.scheduled_at is not null);
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
for each statement
-- a statement that derives all itself says so, with the depth that it runs at
when (_procrastinate_derives())
execute function _procrastinate_jobs_updated();
