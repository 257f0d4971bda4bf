-- The event that a change of status leaves; null for none. As 3.x has it: a job that ends
-- before it ran was cancelled, whatever its status says.
create function _procrastinate_event_of(
    p_from procrastinate_job_status, p_to procrastinate_job_status
)
returns procrastinate_job_event_type
language sql immutable parallel safe
return case p_from
    when 'todo'::procrastinate_job_status then case p_to
        when 'doing'::procrastinate_job_status then 'started'::procrastinate_job_event_type
        when 'succeeded'::procrastinate_job_status then 'cancelled'::procrastinate_job_event_type
        when 'failed'::procrastinate_job_status then 'cancelled'::procrastinate_job_event_type
        when 'cancelled'::procrastinate_job_status then 'cancelled'::procrastinate_job_event_type
    end
    when 'doing'::procrastinate_job_status then case p_to
        when 'todo'::procrastinate_job_status
            then 'deferred_for_retry'::procrastinate_job_event_type
        when 'succeeded'::procrastinate_job_status then 'succeeded'::procrastinate_job_event_type
        when 'failed'::procrastinate_job_status then 'failed'::procrastinate_job_event_type
        when 'aborted'::procrastinate_job_status then 'aborted'::procrastinate_job_event_type
    end
    when 'failed'::procrastinate_job_status then case p_to
        when 'todo'::procrastinate_job_status then 'retried'::procrastinate_job_event_type
    end
end;

comment on function _procrastinate_event_of(
    procrastinate_job_status, procrastinate_job_status
) is 'The event that a change from one status to another leaves, if any.';

-- Before jobs enter doing: with the keys of their locks, refuses those whose lock is held. A
-- promoted head knows up to which claim its lock was free; the lock of a head that this
-- exchange hands over was released by this very transaction.
create function _procrastinate_jobs_started(
    p_job_ids bigint[], p_locks text[], p_handed bigint[]
)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
set enable_nestloop = on
set enable_sort = off
as $$
declare
    v_lock text;
    v_ok boolean;
begin
    v_ok := _procrastinate_refuse_old_snapshot('Starting a job that has a lock');
    v_ok := _procrastinate_take_locks(p_locks);

    select min(h.lock) into v_lock
    from (
        select
            x.lock,
            count(*) over (partition by x.lock) > 1
            or x.job_id <> all(coalesce(p_handed, '{}'::bigint[])) and exists (
                select
                from procrastinate_doing as d
                where d.lock = x.lock and d.claim_id > coalesce(x.free_after, 0)
                order by d.claim_id
                limit 1
            ) as held
        from (
            select t.job_id, t.lock, t.free_after
            from procrastinate_todo as t
            where t.job_id = any(p_job_ids)
            offset 0
        ) as x
        where x.lock is not null
    ) as h
    where h.held;
    if v_lock is not null then
        perform _procrastinate_raise_held(v_lock);
    end if;
    return v_ok;
end;
$$;

comment on function _procrastinate_jobs_started(bigint[], text[], bigint[]) is
'Raises unique_violation (procrastinate_jobs_lock_idx_v1) if one of these locks is held.';

-- doing -> ended: the rows of doing go, and the next of each lock comes forward.
create function _procrastinate_jobs_ended(p_job_ids bigint[], p_locks text[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_locks text[];
    v_priorities integer[];
    v_ids bigint[];
    v_xmins xid8[];
    v_claims bigint[];
    v_ok boolean;
begin
    v_ok := _procrastinate_take_locks(p_locks);
    with gone as (
        delete from procrastinate_doing as d
        where d.job_id = any(p_job_ids)
        returning d.lock, d.priority, d.job_id, d.head_xmin, d.claim_id
    )
    select
        array_agg(g.lock), array_agg(g.priority), array_agg(g.job_id),
        array_agg(g.head_xmin), array_agg(g.claim_id)
    into v_locks, v_priorities, v_ids, v_xmins, v_claims
    from gone as g
    where g.lock is not null;
    if v_locks is not null then
        v_ok := _procrastinate_promote(v_locks, v_priorities, v_ids, v_xmins, v_claims);
    end if;
    return v_ok;
end;
$$;

comment on function _procrastinate_jobs_ended(bigint[], text[]) is
'Releases the claims of these jobs and promotes the next of each lock.';

-- Refuses a change of status that the state machine does not know.
create function _procrastinate_refuse_transition(
    p_job_id bigint, p_from procrastinate_job_status, p_to procrastinate_job_status
)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    perform _procrastinate_raise(
        'PQ001',
        format('Job %s is %s: it cannot become %s', p_job_id, p_from, p_to),
        'Allowed: todo to doing, cancelled, succeeded, failed or aborted; doing to '
        'succeeded, failed, aborted or todo; any ended status to todo.',
        'To run the job again use procrastinate_retry_job, or set its status to todo.'
    );
end;
$$;

comment on function _procrastinate_refuse_transition(
    bigint, procrastinate_job_status, procrastinate_job_status
) is 'Raises PQ001 (illegal transition).';

-- Tells the queues of waiting jobs that something changed, and running jobs to abort.
create function _procrastinate_announce(p_waiting bigint[], p_aborting bigint[])
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_row record;
begin
    for v_row in
        select j.queue_name, j.priority, min(j.id) as job_id
        from procrastinate_jobs as j
        where j.id = any(p_waiting) and j.status = 'todo'
        group by j.queue_name, j.priority
    loop
        perform _procrastinate_note_priority(v_row.queue_name, v_row.priority);
        perform _procrastinate_notify(v_row.queue_name, 'job_inserted', v_row.job_id);
    end loop;
    for v_row in
        select j.queue_name, j.id as job_id
        from procrastinate_jobs as j
        where j.id = any(p_aborting)
        order by j.id
    loop
        perform _procrastinate_notify(v_row.queue_name, 'abort_job_requested', v_row.job_id);
    end loop;
end;
$$;

comment on function _procrastinate_announce(bigint[], bigint[]) is
'NOTIFYs for jobs that were put back or moved, and for running jobs asked to abort.';
