-- Of a report, the claims that no longer held their job, and what that job is now: ended,
-- given to another, or gone.
create function _procrastinate_not_held(
    p_job_ids bigint[], p_claim_ids bigint[], p_ended bigint[]
)
returns setof procrastinate_exchange_v1
language plpgsql stable parallel safe
set search_path from current
as $$
begin
    return query
    select
        'not_held'::text, u.job_id, u.claim_id, j.status, j.queue_name, j.task_name,
        j.priority, j.lock, j.queueing_lock, null::jsonb, j.scheduled_at,
        j.attempts, j.abort_requested, null::double precision, null::boolean,
        null::boolean, null::bigint[], null::jsonb
    from unnest(p_job_ids, p_claim_ids) as u (job_id, claim_id)
    left join procrastinate_jobs as j on j.id = u.job_id
    where u.job_id <> all(p_ended);
end;
$$;

comment on function _procrastinate_not_held(bigint[], bigint[], bigint[]) is
'Rows for the claims of a report that changed nothing.';
