-- procrastinate_heartbeat_v2 for all that the worker holds.
create function procrastinate_heartbeat_v1(p_worker_id bigint, p_run text default null)
returns table (job_id bigint, claim_id bigint, abort_requested boolean)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    return query
    select h.job_id, h.claim_id, h.abort_requested
    from procrastinate_heartbeat_v2(p_worker_id, p_run) as h;
end;
$$;

comment on function procrastinate_heartbeat_v1(bigint, text) is
'Beats for a worker and lists the claims that it holds. Raises PQ004 (not registered).';
