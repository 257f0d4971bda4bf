-- doing -> ended for what a worker reports, todo -> doing for what fits in its free slots:
-- one round trip. Ends that are not answered were applied; not_held ones changed nothing.
--
-- It runs for every job, and most of its cost is to set up statements, expressions and
-- calls, so the usual way has few of each: docs/decisions/0067-few-statements.md.
create function procrastinate_finish_and_fetch_v1(
    p_worker_id bigint,
    p_queues text[],
    p_limit integer,
    p_marks bigint[],
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_statuses procrastinate_job_status[],
    p_delete boolean[]
)
returns setof procrastinate_exchange_v1
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
    v_outer constant text := current_setting('procrastinate.derived', true);
    v_now constant timestamptz := procrastinate_now();
    v_ended record;
    v_next record;
    v_released procrastinate_doing[];
    v_started integer;
    v_ok boolean;
begin
    v_ok := p_worker_id is not null and p_limit between 0 and 10000
        and p_statuses[1] in ('succeeded', 'failed', 'aborted')
        and p_statuses[1] = all(p_statuses)
        and cardinality(p_job_ids) = cardinality(p_statuses)
        and cardinality(p_job_ids) = cardinality(p_claim_ids)
        and coalesce(cardinality(p_delete), 0) in (0, cardinality(p_job_ids))
        and (true = any(p_delete)) is not true
        and array_position(p_job_ids || p_claim_ids, null) is null;
    if v_ok is not true then  -- not a usual report: none, mixed, or wrong
        v_ok := not _procrastinate_check_report(
            p_worker_id, p_limit, p_job_ids, p_claim_ids, p_statuses, p_delete
        );
    end if;
    -- jobs that are updated here, and what is derived from them, are written together
    v_ok := set_config('procrastinate.derived', pg_trigger_depth()::text, true) is not null
        and v_ok;
    if v_ok or cardinality(p_job_ids) > 0 then
        if v_ok then
            v_ended := _procrastinate_end_alike(
                p_worker_id, p_job_ids, p_claim_ids, p_statuses[1], v_now
            );
        else
            v_ended := _procrastinate_end_jobs(
                p_worker_id, p_job_ids, p_claim_ids, p_statuses, p_delete, v_now
            );
        end if;
        v_released := nullif(v_ended.o_released, '{}');
        if cardinality(p_job_ids) > cardinality(v_ended.o_ended) then
            return query
            select
                n.outcome, n.job_id, n.claim_id, n.status, n.queue_name, n.task_name,
                n.priority, n.lock, n.queueing_lock, n.args, n.scheduled_at, n.attempts,
                n.abort_requested, n.next_due_in, n.contended, n.more, n.marks, n.options
            from _procrastinate_not_held(p_job_ids, p_claim_ids, v_ended.o_ended) as n;
        end if;
    end if;

    v_next := _procrastinate_pick_next(
        p_worker_id, p_queues, p_limit, p_marks, v_released, v_now
    );
    if v_next.o_job_ids <> '{}' then
        return query
        with mine as (
            update procrastinate_jobs as j
            set status = 'doing', worker_id = p_worker_id
            from procrastinate_todo as t
            where
                t.job_id = any(v_next.o_job_ids)
                and j.id = t.job_id
                and j.id = any(v_next.o_job_ids)
            returning
                j.id, j.status, j.queue_name, j.task_name, j.priority, j.lock,
                j.queueing_lock, j.args, j.scheduled_at, j.attempts, j.abort_requested,
                j.timeout, j.heartbeat, t.head_xmin,
                case when num_nonnulls(j.timeout, j.heartbeat, j.ttl, j.max_attempts, j.key,
                    j.group_key, j.retry_delay, j.keep_result) > 0
                    then _procrastinate_options_of(j) end as options,
                -- else a user's trigger has made something else of it
                j.status = 'doing' and j.lock is not distinct from t.lock as plain,
                nextval('procrastinate_claims_seq') as claim_id
        ),
        gone as (
            delete from procrastinate_todo as t
            where t.job_id = any(array(select m.id from mine as m where m.plain))
        ),
        started as (
            insert into procrastinate_doing (
                job_id, claim_id, worker_id, head_xmin, started_at, deadline_at,
                heartbeat_at, priority, lock
            )
            select
                m.id, m.claim_id, p_worker_id,
                case
                    when m.lock is null then null
                    when m.id = any(v_next.o_heads[3:]) then v_next.o_heads[1]::text::xid8
                    -- or it was found to be the first later than that
                    else coalesce(m.head_xmin, v_next.o_marks[1]::text::xid8)
                end,
                v_now, v_now + m.timeout, v_now + m.heartbeat, m.priority, m.lock
            from mine as m
            where m.plain
        ),
        told as (
            insert into procrastinate_events (job_id, type, at, attempt, by_worker_id)
            select m.id, 'started', v_now, m.attempts, p_worker_id
            from mine as m
            where m.plain
        )
        select
            'claimed'::text, m.id, m.claim_id, m.status, m.queue_name, m.task_name,
            m.priority, m.lock, m.queueing_lock, m.args, m.scheduled_at, m.attempts,
            m.abort_requested, null::double precision, null::boolean, null::boolean,
            null::bigint[], m.options
        from mine as m
        where m.plain
        order by m.priority desc, m.id;
        get diagnostics v_started = row_count;
        if v_started < cardinality(v_next.o_job_ids) then
            v_ok := _procrastinate_changed_otherwise(v_next.o_job_ids, 'todo');
        end if;
    end if;
    if not v_next.o_heads[3:] <@ v_next.o_job_ids then
        v_ok := _procrastinate_unblock(v_next.o_heads);
    end if;
    v_ok := set_config('procrastinate.derived', coalesce(v_outer, ''), true) is null;
    return next row(
        'summary', null, null, null, null, null, null, null, null, null, null, null, null,
        v_next.o_next_due_in, v_next.o_contended, v_next.o_more, v_next.o_marks, null
    )::procrastinate_exchange_v1;
end;
$$;

comment on function procrastinate_finish_and_fetch_v1(
    bigint, text[], integer, bigint[], bigint[], bigint[], procrastinate_job_status[],
    boolean[]
) is
'doing -> ended for a report, todo -> doing for free slots. Raises PQ003, PQ004, PQ005.';
