-- Of 3.x: todo -> cancelled or gone; with abort, doing is asked to abort.
create function procrastinate_cancel_job_v1(
    job_id bigint, abort boolean, delete_job boolean
)
returns bigint
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
    return _procrastinate_cancel($1, coalesce($2, false), coalesce($3, false));
end;
$$;

comment on function procrastinate_cancel_job_v1(bigint, boolean, boolean) is
'Called by 3.x: cancels or asks to abort; the job, or null where it does not apply.';
