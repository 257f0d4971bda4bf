-- What the jobs of a report leave, before they end: results of those that are to be kept,
-- for the claims that still hold their job. Their rows are locked, so that nobody takes the
-- claims away before they end.
create function _procrastinate_store_results(
    p_worker_id bigint,
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_statuses procrastinate_job_status[],
    p_results jsonb[],
    p_errors jsonb[],
    p_now timestamptz,
    out o_held bigint[],
    out o_stored bigint[]
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    with held as materialized (
        select j.id, j.ttl
        from procrastinate_jobs as j
        where
            j.id = any(p_job_ids)
            and j.status = 'doing'
            and coalesce(j.worker_id, p_worker_id) = p_worker_id
            and exists (
                select
                from procrastinate_doing as d
                where d.job_id = j.id and d.claim_id = any(p_claim_ids)
            )
        order by j.id
        for no key update of j
    ),
    stored as (
        insert into procrastinate_results as r
            (job_id, result, error, updated_at, expires_at, status)
        select
            h.id, u.result, u.error, p_now,
            case when h.ttl > interval '0' then p_now + h.ttl end, u.status
        from held as h
        join unnest(p_job_ids, p_statuses, p_results, p_errors) as u (
            job_id, status, result, error
        ) on u.job_id = h.id
        where h.ttl >= interval '0'
        on conflict (job_id) do update
        set
            result = excluded.result,
            error = excluded.error,
            updated_at = excluded.updated_at,
            expires_at = excluded.expires_at,
            status = excluded.status
        returning r.job_id
    )
    select
        array(select h.id from held as h), array(select s.job_id from stored as s)
    into o_held, o_stored;
end;
$$;

comment on function _procrastinate_store_results(
    bigint, bigint[], bigint[], procrastinate_job_status[], jsonb[], jsonb[], timestamptz
) is 'Stores the results of claims that hold their job, as its ttl says, before it ends.';
