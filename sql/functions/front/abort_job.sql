-- todo -> cancelled, or a job in doing asked to abort.
create function procrastinate_abort_job(job_id bigint)
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
    return _procrastinate_cancel($1, true, false) is not null;
end;
$$;

comment on function procrastinate_abort_job(bigint) is
'todo -> cancelled; doing: asks the job to abort. False: the job is neither.';
