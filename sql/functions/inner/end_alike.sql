-- doing -> one status, for the claims that still hold their job: the job, what is derived
-- from it and its history in one statement. The caller has said so to the trigger of
-- procrastinate_jobs (procrastinate.derived): docs/decisions/0005-triggers-derive.md.
--
-- In the one order: rows of jobs, keys of their locks, rows of doing. The next heads of the
-- locks are then found by the caller, with a snapshot taken after the keys.
create function _procrastinate_end_alike(
    p_worker_id bigint,
    p_job_ids bigint[],
    p_claim_ids bigint[],  -- a claim is one job's: of more jobs than these, if need be
    p_status procrastinate_job_status,
    p_now timestamptz,
    out o_ended bigint[],
    out o_released procrastinate_doing[]  -- claims that had a lock, whose keys are in hand
)
language plpgsql volatile parallel unsafe
set search_path from current
set enable_nestloop = off  -- a filter by an array is quadratic; both sides come in order
as $$
declare
    v_event constant procrastinate_job_event_type
        := p_status::text::procrastinate_job_event_type;  -- of the same name
    v_others bigint[];
    v_gone bigint;
    v_keyed boolean;
    v_ok boolean;
begin
    with ended as (
        update procrastinate_jobs as j
        set status = p_status, attempts = least(j.attempts, 2147483646) + 1,
            abort_requested = false
        from procrastinate_doing as d
        where
            d.job_id = any(p_job_ids)
            and d.claim_id = any(p_claim_ids)
            and j.id = d.job_id
            and j.id = any(p_job_ids)
            and j.status = 'doing'
            and coalesce(j.worker_id, p_worker_id) = p_worker_id
        returning
            j.id, j.queue_name, j.status, j.attempts, j.worker_id, j.lock, j.key,
            -- neither a user's trigger has something else in mind, nor has the lock changed
            -- while the row was waited for
            j.status = p_status and j.lock is not distinct from d.lock as plain
    ),
    gone as (
        delete from procrastinate_doing as d
        where
            d.job_id = any(array(select e.id from ended as e where e.plain))
            and (
                select _procrastinate_take_locks(array_agg(e.lock))
                from ended as e
                where e.plain and e.lock is not null
                having count(*) > 0
            ) is not false
        returning d as claim, d.lock
    ),
    told as (
        insert into procrastinate_events (job_id, type, at, attempt, by_worker_id)
        select e.id, v_event, p_now, e.attempts, e.worker_id
        from ended as e
        where e.plain
    ),
    counted as (
        insert into procrastinate_counts (queue_name, status, jobs)
        select e.queue_name, p_status, count(*)
        from ended as e
        where e.plain
        group by e.queue_name
    )
    select
        array(select e.id from ended as e),
        array(select g.claim from gone as g where g.lock is not null),
        array(select e.id from ended as e where not e.plain),
        (select count(*) from gone as g),
        exists (select from ended as e where e.key is not null)
    into o_ended, o_released, v_others, v_gone, v_keyed;
    if v_gone <> cardinality(o_ended) - cardinality(v_others) then
        -- a job was given back and claimed again by this very worker just now: its claim is
        -- another, which this snapshot does not show, and must not be ended
        perform _procrastinate_raise('40001',
            'A job was claimed anew while the report of its former claim came in',
            null, 'Send the report again.');
    end if;
    if v_keyed then
        delete from procrastinate_keys as k where k.job_id = any(o_ended);
    end if;
    if v_others <> '{}' then
        v_ok := _procrastinate_changed_otherwise(v_others, 'doing');
    end if;
end;
$$;

comment on function _procrastinate_end_alike(
    bigint, bigint[], bigint[], procrastinate_job_status, timestamptz
) is 'doing -> this status for these claims; returns the jobs of those that held.';
