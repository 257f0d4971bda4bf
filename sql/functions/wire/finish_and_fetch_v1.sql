-- doing -> ended for what a worker reports, todo -> doing for what fits in its free slots:
-- one round trip. Ends that are not answered were applied; not_held ones changed nothing.
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
language plpgsql volatile parallel unsafe
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
    v_row procrastinate_exchange_v1;
    v_part record;
    v_ids bigint[];
    v_heads bigint[];  -- of the locks released here: handed over to the fetch
    v_started integer;
    v_ok boolean;
begin
    v_ok := _procrastinate_check_report(
        p_worker_id, p_limit, p_job_ids, p_claim_ids, p_statuses, p_delete
    );
    -- jobs that are updated here, and what is derived from them, are written together
    v_ok := set_config('procrastinate.derived', pg_trigger_depth()::text, true) is null;
    if cardinality(p_job_ids) > 0 then
        v_part := _procrastinate_end_jobs(
            p_worker_id, p_job_ids, p_claim_ids, p_statuses, p_delete
        );
        v_heads := v_part.o_heads;
        if cardinality(p_job_ids) > cardinality(v_part.o_ended) then
            return query
            select
                n.outcome, n.job_id, n.claim_id, n.status, n.queue_name, n.task_name,
                n.priority, n.lock, n.queueing_lock, n.args, n.scheduled_at, n.attempts,
                n.abort_requested, n.next_due_in, n.contended, n.more, n.marks
            from _procrastinate_not_held(p_job_ids, p_claim_ids, v_part.o_ended) as n;
        end if;
    end if;

    v_row.outcome := 'summary';
    v_row.contended := false;
    v_row.more := false;
    v_row.marks := p_marks;
    if p_limit > 0 then
        if current_setting('transaction_isolation') <> 'read committed' then
            v_ok := _procrastinate_refuse_old_snapshot('Fetching jobs');
        end if;
        v_part := _procrastinate_pick_next(
            p_worker_id, p_queues, p_limit, p_marks, v_heads
        );
        v_ids := v_part.o_job_ids;
        v_row.next_due_in := v_part.o_next_due_in;
        v_row.contended := v_part.o_contended;
        v_row.more := v_part.o_more;
        v_row.marks := v_part.o_marks;
        if cardinality(v_ids) > 0 then
            return query
            with mine as (
                update procrastinate_jobs as j
                set status = 'doing', worker_id = p_worker_id
                where j.id = any(v_ids)
                returning
                    j.id, j.status, j.queue_name, j.task_name, j.priority, j.lock,
                    j.queueing_lock, j.args, j.scheduled_at, j.attempts, j.abort_requested,
                    j.worker_id
            ),
            claims as materialized (
                select
                    m.id, m.status, m.queue_name, m.task_name, m.priority, m.lock,
                    m.queueing_lock, m.args, m.scheduled_at, m.attempts, m.abort_requested,
                    m.worker_id,
                    nextval('procrastinate_claims_seq') as claim_id
                from mine as m
                where
                    m.status = 'doing'
                    and (
                        m.lock is null
                        or m.lock = (
                            select t.lock from procrastinate_todo as t
                            where t.job_id = m.id
                        )
                    )
            ),
            gone as (
                delete from procrastinate_todo as t
                where t.job_id = any(array(select c.id from claims as c))
            ),
            started as (
                insert into procrastinate_doing
                    (job_id, claim_id, worker_id, head_xmin, started_at, priority, lock)
                select
                    c.id, c.claim_id, c.worker_id,
                    case
                        when c.id = any(v_heads[3:]) then v_heads[1]::text::xid8
                        when c.lock is not null then (
                            select t.head_xmin from procrastinate_todo as t
                            where t.job_id = c.id
                        )
                    end,
                    v_now, c.priority, c.lock
                from claims as c
            ),
            told as (
                insert into procrastinate_events (job_id, type, at, attempt, by_worker_id)
                select c.id, 'started', v_now, c.attempts, c.worker_id from claims as c
            )
            select
                'claimed'::text, c.id, c.claim_id, c.status, c.queue_name, c.task_name,
                c.priority, c.lock, c.queueing_lock, c.args, c.scheduled_at, c.attempts,
                c.abort_requested, null::double precision, null::boolean, null::boolean,
                null::bigint[]
            from claims as c
            order by c.priority desc, c.id;
            get diagnostics v_started = row_count;
            if v_started < cardinality(v_ids) then
                v_ok := _procrastinate_changed_otherwise(v_ids, 'todo');
            end if;
        end if;
    end if;

    if v_heads is not null and (v_heads[3:] <@ v_ids) is not true then
        v_ok := _procrastinate_unblock(v_heads);
    end if;
    v_ok := set_config('procrastinate.derived', coalesce(v_outer, ''), true) is null;
    return next v_row;
end;
$$;

comment on function procrastinate_finish_and_fetch_v1(
    bigint, text[], integer, bigint[], bigint[], bigint[], procrastinate_job_status[],
    boolean[]
) is
'doing -> ended for a report, todo -> doing for free slots. Raises PQ003, PQ004, PQ005.';
