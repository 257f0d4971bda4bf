-- todo -> cancelled (or gone); with abort, a job in doing is asked to abort.
create function procrastinate_cancel_job(
    job_id bigint, abort boolean default false, delete_job boolean default false
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
    return _procrastinate_cancel($1, coalesce($2, false), coalesce($3, false)) is not null;
end;
$$;

comment on function procrastinate_cancel_job(bigint, boolean, boolean) is
'todo -> cancelled or gone; doing: asks to abort, if abort is true. False: does not apply.';
