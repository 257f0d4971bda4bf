-- Of 3.x: -> todo. From doing only, as its callers of 3.0 to 3.3 expect.
create function procrastinate_retry_job_v1(
    job_id bigint,
    retry_at timestamp with time zone,
    new_priority integer,
    new_queue_name character varying,
    new_lock character varying
)
returns void
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
    v_claim record;
begin
    perform _procrastinate_clear_derived();
    select d.claim_id, d.worker_id into v_claim
    from procrastinate_doing as d
    where d.job_id = $1;
    if found and _procrastinate_put_back(
        coalesce(v_claim.worker_id, 0), $1, v_claim.claim_id, 1, $2, $3, $4, $5
    ) then
        return;
    end if;

    raise exception 'Job was not found or not in "doing" status (job id: %)', $1;
end;
$$;

comment on function procrastinate_retry_job_v1(
    bigint, timestamptz, integer, varchar, varchar
) is 'Called by 3.x: back to todo, attempts + 1. Raises P0001 for another status.';
