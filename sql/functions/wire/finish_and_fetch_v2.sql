-- As v1, with what the ended jobs leave: results, kept for the job's ttl, and errors, kept
-- in the history. A result that is too large makes its job fail, and its error says so: the
-- outcome too_large tells the worker.
create function procrastinate_finish_and_fetch_v2(
    p_worker_id bigint,
    p_queues text[],
    p_limit integer,
    p_marks bigint[],
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_statuses procrastinate_job_status[],
    p_delete boolean[],
    p_results jsonb[],
    p_errors jsonb[]
)
returns setof procrastinate_exchange_v1
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_largest constant integer := _procrastinate_max_result_size();
    v_kept record;
    v_too_large bigint[] := array[]::bigint[];
    v_answer procrastinate_exchange_v1;
    v_ok boolean;
begin
    if cardinality(p_job_ids)
        < greatest(cardinality(p_results), cardinality(p_errors))
    then
        perform _procrastinate_raise('PQ003', 'There are more results than ended jobs',
            format('%s jobs, %s results, %s errors.', cardinality(p_job_ids),
                cardinality(p_results), cardinality(p_errors)),
            'Give at most one result and one error for each job.');
    end if;
    -- none is larger than all of them
    for v_nr in 1..case when pg_column_size(p_results) > v_largest
        then cardinality(p_results) else 0 end
    loop
        continue when coalesce(pg_column_size(p_results[v_nr]), 0) <= v_largest;
        p_statuses[v_nr] := 'failed';
        p_errors[v_nr] := jsonb_build_object(
            'class', 'procrastinate.exceptions.ResultTooLarge',
            'message', format('The result has %s bytes: at most %s are allowed',
                pg_column_size(p_results[v_nr]), v_largest)
        );
        p_results[v_nr] := null;
        v_too_large := v_too_large || p_job_ids[v_nr];
    end loop;

    v_kept := _procrastinate_store_results(
        p_worker_id, p_job_ids, p_claim_ids, p_statuses, p_results, p_errors,
        procrastinate_now()
    );
    return query
    select
        e.outcome, e.job_id, e.claim_id, e.status, e.queue_name, e.task_name, e.priority,
        e.lock, e.queueing_lock, e.args, e.scheduled_at, e.attempts, e.abort_requested,
        e.next_due_in, e.contended, e.more, e.marks, e.options
    from procrastinate_finish_and_fetch_v1(
        p_worker_id, p_queues, p_limit, p_marks, p_job_ids, p_claim_ids, p_statuses,
        p_delete
    ) as e;
    for v_nr in 1..cardinality(v_too_large) loop
        continue when not v_too_large[v_nr] = any(v_kept.o_held);
        v_answer.outcome := 'too_large';
        v_answer.job_id := v_too_large[v_nr];
        v_answer.status := 'failed';
        return next v_answer;
    end loop;
    if array_remove(p_errors, null) <> '{}' then
        perform _procrastinate_note_errors(u.ids, u.errors)
        from (
            select array_agg(x.job_id) as ids, array_agg(x.error) as errors
            from unnest(p_job_ids, p_errors) as x (job_id, error)
            where x.error is not null and x.job_id = any(v_kept.o_held)
        ) as u;
    end if;
    v_ok := _procrastinate_tell_ended(v_kept.o_stored);
end;
$$;

comment on function procrastinate_finish_and_fetch_v2(
    bigint, text[], integer, bigint[], bigint[], bigint[], procrastinate_job_status[],
    boolean[], jsonb[], jsonb[]
) is
'finish_and_fetch with results and errors of what ended. Raises PQ003, PQ004, PQ005.';
