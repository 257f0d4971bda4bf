-- Of 3.x: -> todo. From doing or failed.
create function procrastinate_retry_job_v2(
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
begin
    perform _procrastinate_clear_derived();
    if _procrastinate_retry($1, $2, $3, $4, $5) then
        return;
    end if;
    raise exception 'Job was not found or has an invalid status to retry (job id: %)', $1;
end;
$$;

comment on function procrastinate_retry_job_v2(
    bigint, timestamptz, integer, varchar, varchar
) is 'Called by 3.x: back to todo, attempts + 1. Raises P0001 for another status.';
