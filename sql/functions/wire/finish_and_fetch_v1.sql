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
set jit = off
as $$
declare
    v_ended bigint[];
    v_left record;
begin
    perform _procrastinate_check_report(
        p_worker_id, p_job_ids, p_claim_ids, p_statuses, p_delete
    );
    if cardinality(p_job_ids) > 0 then
        -- heads that this promotes are most often claimed below: told of after that
        perform set_config('procrastinate.exchange', 'on', true);
        v_ended := _procrastinate_end_jobs(
            p_worker_id, p_job_ids, p_claim_ids, p_statuses, p_delete
        );
        perform set_config('procrastinate.exchange', '', true);
        if cardinality(v_ended) < cardinality(p_job_ids) then
            return query
            select
                'not_held'::text, u.job_id, u.claim_id, j.status, j.queue_name, j.task_name,
                j.priority, j.lock, j.queueing_lock, null::jsonb, j.scheduled_at, j.attempts,
                j.abort_requested, null::double precision, null::boolean, null::boolean,
                null::bigint[]
            from unnest(p_job_ids, p_claim_ids) as u (job_id, claim_id)
            left join procrastinate_jobs as j on j.id = u.job_id
            where u.job_id <> all(v_ended);
        end if;
    end if;

    return query select * from _procrastinate_fetch(p_worker_id, p_queues, p_limit, p_marks);

    if cardinality(v_ended) > 0 then
        for v_left in
            select t.queue_name, min(t.job_id) as job_id
            from procrastinate_todo as t
            where t.state = 'a' and t.since = pg_current_xact_id()
            group by t.queue_name
        loop
            perform _procrastinate_notify(v_left.queue_name, 'job_inserted', v_left.job_id);
        end loop;
    end if;
end;
$$;

comment on function procrastinate_finish_and_fetch_v1(
    bigint, text[], integer, bigint[], bigint[], bigint[], procrastinate_job_status[], boolean[]
) is
'doing -> ended for a report, todo -> doing for free slots. Raises PQ003, PQ004, PQ005.';
