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
    v_changed bigint[];
    v_locks text[];
    v_started bigint;
    v_ended bigint;
    v_left bigint;
    v_back bigint;
    v_other bigint;
    v_illegal bigint;
    v_scheduled boolean;
    v_aborts boolean;
begin
    if pg_trigger_depth() > 1 then
        perform set_config('procrastinate.nested', 'on', true);
    end if;

    select
        array_agg(n.id order by n.id),
        array_agg(distinct o.lock) filter (where o.lock is not null),
        count(*) filter (where o.status = 'todo' and n.status = 'doing'
            and o.lock is not distinct from n.lock),
        count(*) filter (where o.status = 'doing' and n.status in (
            'succeeded', 'failed', 'aborted'
        )),
        count(*) filter (where o.status = 'todo' and n.status in (
            'succeeded', 'failed', 'aborted', 'cancelled'
        )),
        count(*) filter (where o.status <> 'todo' and n.status = 'todo'),
        min(n.id) filter (where o.status <> n.status and n.status <> 'todo' and not (
            (o.status = 'todo' and n.status in (
                'doing', 'succeeded', 'failed', 'cancelled', 'aborted'
            ))
            or (o.status = 'doing' and n.status in ('succeeded', 'failed', 'aborted'))
        )),
        coalesce(bool_or(n.status = 'todo' and n.scheduled_at is not null), false),
        coalesce(bool_or(n.abort_requested and not o.abort_requested), false)
    into
        v_changed, v_locks, v_started, v_ended, v_left, v_back, v_illegal, v_scheduled,
        v_aborts
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

    if v_changed is null then
        return null;
    end if;
    if v_illegal is not null then
        perform _procrastinate_raise(
            'PQ001',
            format(
                'Job %s is %s: it cannot become %s', v_illegal,
                (select o.status from old_jobs as o where o.id = v_illegal),
                (select n.status from new_jobs as n where n.id = v_illegal)
            ),
            'Allowed: todo to doing, cancelled, succeeded, failed or aborted; doing to '
            'succeeded, failed, aborted or todo; any ended status to todo.',
            'To run the job again use procrastinate_retry_job, or set its status to todo.'
        );
    end if;

    v_other := cardinality(v_changed) - v_started - v_ended;
    if v_other = 0 and not v_nested and (v_started = 0 or v_ended = 0) then
        if v_started > 0 then
            perform _procrastinate_jobs_started(v_changed, v_locks);
            insert into procrastinate_doing (
                job_id, worker_id, head_xmin, started_at, priority, lock
            )
            select
                n.id, n.worker_id,
                case when n.lock is not null then (
                    select t.head_xmin from procrastinate_todo as t where t.job_id = n.id
                ) end,
                procrastinate_now(), n.priority, n.lock
            from new_jobs as n
            where n.id = any(v_changed);
            delete from procrastinate_todo as t where t.job_id = any(v_changed);
        else
            perform _procrastinate_jobs_ended(v_changed, v_locks);
        end if;
    else
        if v_started > 0 and exists (
            select from new_jobs as n where n.status = 'doing' and n.lock is not null
        ) then
            perform _procrastinate_refuse_old_snapshot('Starting a job that has a lock');
        end if;
        perform _procrastinate_reconcile(v_changed, v_locks);
    end if;

    if not (v_aborts or v_scheduled or v_nested) then
        insert into procrastinate_events (job_id, type, at, attempt, worker_id)
        select
            n.id,
            _procrastinate_event_of(o.status, n.status),
            procrastinate_now(), n.attempts,
            case when n.status = 'doing' or o.status = 'doing' then n.worker_id end
        from new_jobs as n
        join old_jobs as o on o.id = n.id
        where _procrastinate_event_of(o.status, n.status) is not null;
    else
        insert into procrastinate_events (job_id, type, at, attempt, worker_id)
        select
            n.id, e.type, coalesce(e.at, procrastinate_now()), n.attempts,
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
            not v_nested
            or n.id = any(array(
                select j.id from procrastinate_jobs as j where j.id = any(v_changed)
            ))
        order by n.id, e.nr;
    end if;

    if v_other > 0 then
        perform _procrastinate_announce(v_changed);
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
