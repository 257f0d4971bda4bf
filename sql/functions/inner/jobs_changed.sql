-- Every change of jobs but the two that each goes through: refuses what the state machine
-- does not allow, then derives todo and doing from the jobs' present rows and writes the
-- history.
create function _procrastinate_jobs_changed(
    p_job_ids bigint[],
    p_from procrastinate_job_status[],
    p_to procrastinate_job_status[],
    p_aborts boolean[],
    p_queues text[],
    p_locks text[]
)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_now constant timestamptz := procrastinate_now();
begin
    perform _procrastinate_refuse_transition(c.id, c.old, c.new)
    from unnest(p_job_ids, p_from, p_to) as c (id, old, new)
    where
        c.old <> c.new
        and c.new <> 'todo'
        and not (
            (c.old = 'todo' and c.new <> 'aborting')
            or (c.old = 'doing' and c.new in ('succeeded', 'failed', 'aborted'))
        );
    perform _procrastinate_reconcile(p_job_ids, p_locks);

    -- in the order of 3.x; of a job that is gone again nothing is told
    insert into procrastinate_events (job_id, type, at, attempt, by_worker_id)
    select
        c.id, e.type, coalesce(e.at, v_now), j.attempts,
        case when c.new = 'doing' or c.old = 'doing' then j.worker_id end
    from unnest(p_job_ids, p_from, p_to, p_aborts) as c (id, old, new, abort)
    join (
        select x.id, x.attempts, x.worker_id, x.scheduled_at
        from procrastinate_jobs as x
        where x.id = any(p_job_ids)
    ) as j on j.id = c.id
    cross join lateral (
        select 1 as nr, 'abort_requested'::procrastinate_job_event_type as type,
            null::timestamptz as at
        where c.abort
        union all
        select 2, 'scheduled', j.scheduled_at
        where c.new = 'todo' and j.scheduled_at is not null
        union all
        select 3, _procrastinate_event_of(c.old, c.new), null
        where _procrastinate_event_of(c.old, c.new) is not null
    ) as e
    order by c.id, e.nr;

    insert into procrastinate_counts (queue_name, status, jobs)
    select x.queue_name, x.status, sum(x.jobs)
    from (
        select j.queue_name, c.new as status, 1 as jobs
        from unnest(p_job_ids, p_to) as c (id, new)
        join (
            select x.id, x.queue_name
            from procrastinate_jobs as x
            where x.id = any(p_job_ids)
        ) as j on j.id = c.id
        where c.new > 'doing'
        union all
        select c.queue_name, c.old, -1
        from unnest(p_queues, p_from) as c (queue_name, old)
        where c.old > 'doing'
    ) as x
    group by x.queue_name, x.status
    having sum(x.jobs) <> 0;

    perform _procrastinate_announce(
        array(
            select c.id from unnest(p_job_ids, p_to) as c (id, new) where c.new = 'todo'
        ),
        array(
            select c.id
            from unnest(p_job_ids, p_to, p_aborts) as c (id, new, abort)
            where c.new = 'doing' and c.abort
        )
    );
    return true;
end;
$$;

comment on function _procrastinate_jobs_changed(
    bigint[], procrastinate_job_status[], procrastinate_job_status[], boolean[], text[],
    text[]
) is 'Any legal change of jobs: derived rows, history, NOTIFY. Raises PQ001, PQ005.';
