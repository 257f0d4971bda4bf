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
-- promoted head knows up to which claim its lock was free.
create function _procrastinate_jobs_started(p_job_ids bigint[], p_locks text[])
returns void
language plpgsql volatile parallel unsafe
set search_path from current
set enable_nestloop = on
as $$
declare
    v_lock text;
    v_count bigint;
begin
    if p_locks is null then
        return;
    end if;
    perform _procrastinate_refuse_old_snapshot('Starting a job that has a lock');
    perform _procrastinate_take_locks(p_locks);

    select t.lock into v_lock
    from procrastinate_todo as t
    where
        t.job_id = any(p_job_ids)
        and t.lock is not null
        and exists (
            select
            from procrastinate_doing as d
            where d.lock = t.lock and d.claim_id > coalesce(t.free_after, 0)
        )
    limit 1;
    if not found then
        select t.lock, count(*) into v_lock, v_count
        from procrastinate_todo as t
        where t.job_id = any(p_job_ids) and t.lock is not null
        group by t.lock
        having count(*) > 1
        limit 1;
    end if;
    if v_lock is not null then
        perform _procrastinate_raise_held(v_lock);
    end if;
end;
$$;

comment on function _procrastinate_jobs_started(bigint[], text[]) is
'Raises unique_violation (procrastinate_jobs_lock_idx_v1) if one of these locks is held.';

-- doing -> ended: the rows of doing go, and the next of each lock comes forward.
create function _procrastinate_jobs_ended(p_job_ids bigint[], p_locks text[])
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_locks text[];
    v_priorities integer[];
    v_ids bigint[];
    v_xmins xid8[];
    v_claims bigint[];
begin
    if p_locks is null then
        delete from procrastinate_doing as d where d.job_id = any(p_job_ids);
        return;
    end if;
    perform _procrastinate_take_locks(p_locks);
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
        perform _procrastinate_promote(v_locks, v_priorities, v_ids, v_xmins, v_claims);
    end if;
end;
$$;

comment on function _procrastinate_jobs_ended(bigint[], text[]) is
'Releases the claims of these jobs and promotes the next of each lock.';

-- Tells the queues of waiting jobs that something changed, and running jobs to abort.
create function _procrastinate_announce(p_job_ids bigint[])
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
        where j.id = any(p_job_ids) and j.status = 'todo'
        group by j.queue_name, j.priority
    loop
        perform _procrastinate_note_priority(v_row.queue_name, v_row.priority);
        perform _procrastinate_notify(v_row.queue_name, 'job_inserted', v_row.job_id);
    end loop;
    for v_row in
        select j.queue_name, j.id as job_id
        from procrastinate_jobs as j
        where j.id = any(p_job_ids) and j.status = 'doing' and j.abort_requested
        order by j.id
    loop
        perform _procrastinate_notify(v_row.queue_name, 'abort_job_requested', v_row.job_id);
    end loop;
end;
$$;

comment on function _procrastinate_announce(bigint[]) is
'NOTIFYs for jobs that were put back or moved, and for running jobs asked to abort.';
