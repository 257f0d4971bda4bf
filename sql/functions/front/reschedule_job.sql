-- A waiting job gets another time: "run now" is a time that has come.
create function procrastinate_reschedule_job(job_id bigint, scheduled_at timestamptz)
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
    update procrastinate_jobs as j
    set scheduled_at = $2
    where j.id = $1 and j.status = 'todo';
    if found then
        return true;
    end if;
    perform _procrastinate_require_job($1);
    return false;
end;
$$;

comment on function procrastinate_reschedule_job(bigint, timestamptz) is
'Gives a job in todo another time; null or the past: at once. False: not in todo. '
'Raises PQ002.';
