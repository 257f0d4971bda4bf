-- failed -> todo (or doing -> todo, for a job whose worker is lost), by hand.
create function procrastinate_retry_job(
    job_id bigint,
    retry_at timestamptz default null,
    priority integer default null,
    queue_name text default null,
    lock text default null
)
returns boolean
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
    perform _procrastinate_check_text($4, 'queue name', 128, $4 is not null);
    if _procrastinate_retry($1, coalesce($2, procrastinate_now()), $3, $4, $5) then
        return true;
    end if;
    perform _procrastinate_require_job($1);
    return false;
end;
$$;

comment on function procrastinate_retry_job(bigint, timestamptz, integer, text, text) is
'failed or doing -> todo, attempts + 1. False: another status. '
'Raises PQ002, unique_violation.';
