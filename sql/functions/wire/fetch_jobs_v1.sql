-- todo -> doing: a worker's next jobs.
create function procrastinate_fetch_jobs_v1(
    p_worker_id bigint,
    p_queues text[],
    p_limit integer,
    p_marks bigint[] default null
)
returns setof procrastinate_exchange_v1
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    return query
    select
        e.outcome, e.job_id, e.claim_id, e.status, e.queue_name, e.task_name, e.priority,
        e.lock, e.queueing_lock, e.args, e.scheduled_at, e.attempts, e.abort_requested,
        e.next_due_in, e.contended, e.more, e.marks, e.options
    from procrastinate_finish_and_fetch_v1(
        p_worker_id, p_queues, p_limit, p_marks, '{}', '{}', '{}', '{}'
    ) as e;
end;
$$;

comment on function procrastinate_fetch_jobs_v1(bigint, text[], integer, bigint[]) is
'todo -> doing for at most p_limit jobs, then a summary row. Raises PQ003, PQ004, PQ005.';
