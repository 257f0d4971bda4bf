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
    v_row procrastinate_exchange_v1;
    v_fresh record;
    v_claim record;
    v_ids bigint[];
    v_ended bigint[];
    v_ok boolean;
    v_handed bigint[];
begin
    if p_limit is null or p_limit < 0 or p_limit > 10000 then
        perform _procrastinate_raise('PQ003',
            format('The number of jobs to fetch is %s', coalesce(p_limit::text, 'null')),
            null, 'Ask for 0 to 10000 jobs.');
    end if;
    v_ok := _procrastinate_check_report(
        p_worker_id, p_job_ids, p_claim_ids, p_statuses, p_delete
    );
    if cardinality(p_job_ids) > 0 then
        -- the heads of locks released here are handed over to the fetch below
        v_row.outcome := set_config('procrastinate.exchange', 'on', true);
        v_ended := _procrastinate_end_jobs(
            p_worker_id, p_job_ids, p_claim_ids, p_statuses, p_delete
        );
        v_row.outcome := set_config('procrastinate.exchange', '', true);
        v_handed := nullif(current_setting('procrastinate.handover', true), '')::bigint[];
        if cardinality(v_ended) < cardinality(p_job_ids) then
            return query
            select
                'not_held'::text, u.job_id, u.claim_id, j.status, j.queue_name, j.task_name,
                j.priority, j.lock, j.queueing_lock, null::jsonb, j.scheduled_at,
                j.attempts, j.abort_requested, null::double precision, null::boolean,
                null::boolean, null::bigint[]
            from unnest(p_job_ids, p_claim_ids) as u (job_id, claim_id)
            left join procrastinate_jobs as j on j.id = u.job_id
            where u.job_id <> all(v_ended);
        end if;
    end if;

    v_row.outcome := 'summary';
    v_row.contended := false;
    v_row.more := false;
    v_row.marks := p_marks;
    if p_limit > 0 then
        v_ok := _procrastinate_refuse_old_snapshot('Fetching jobs');
        if v_handed is null and cardinality(p_queues) = 1 and cardinality(p_marks) = 6
            and p_marks[2] > extract(epoch from clock_timestamp()) * 1e6
        then
            v_fresh := _procrastinate_claim_fresh(
                p_worker_id, p_queues[1], p_limit, p_marks
            );
            v_ids := v_fresh.o_job_ids;
        end if;
        if cardinality(v_ids) = p_limit then
            v_row.marks[5] := v_fresh.o_fresh;
        else
            v_ok := _procrastinate_require_worker(p_worker_id);
            v_claim := _procrastinate_claim_jobs(
                p_worker_id, p_queues, p_limit - coalesce(cardinality(v_ids), 0), p_marks,
                v_handed
            );
            v_ids := v_ids || v_claim.o_job_ids;
            v_row.next_due_in := v_claim.o_next_due_in;
            v_row.contended := v_claim.o_contended;
            v_row.more := v_claim.o_more;
            v_row.marks := v_claim.o_marks;
        end if;
        if cardinality(v_ids) > 0 then
            return query
            select
                'claimed'::text, j.id, d.claim_id, j.status, j.queue_name, j.task_name,
                j.priority, j.lock, j.queueing_lock, j.args, j.scheduled_at, j.attempts,
                j.abort_requested, null::double precision, null::boolean, null::boolean,
                null::bigint[]
            from procrastinate_doing as d
            join procrastinate_jobs as j on j.id = d.job_id
            where d.job_id = any(v_ids)
            order by j.priority desc, j.id;
        end if;
    end if;

    if v_handed is not null then
        v_ok := set_config('procrastinate.handover', '', true) is not null;
        if (v_handed[3:] <@ v_ids) is not true then
            v_ok := _procrastinate_unblock(v_handed[3:], v_handed[1], v_handed[2]);
        end if;
    end if;
    return next v_row;
end;
$$;

comment on function procrastinate_finish_and_fetch_v1(
    bigint, text[], integer, bigint[], bigint[], bigint[], procrastinate_job_status[],
    boolean[]
) is
'doing -> ended for a report, todo -> doing for free slots. Raises PQ003, PQ004, PQ005.';
