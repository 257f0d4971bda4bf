-- Of 3.x: doing or todo -> ended, or gone. It knows no claims: whoever calls is believed.
create function procrastinate_finish_job_v1(
    job_id bigint, end_status procrastinate_job_status, delete_job boolean
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
    v_found boolean;
begin
    perform _procrastinate_clear_derived();
    if $2 is null or $2 not in ('succeeded', 'failed', 'aborted') then
        raise exception
            'End status should be either "succeeded", "failed" or "aborted" (job id: %)',
            $1;
    end if;
    if $3 then
        delete from procrastinate_jobs as j
        where j.id = $1 and j.status in ('todo', 'doing');
    else
        update procrastinate_jobs as j
        set
            status = $2,
            abort_requested = false,
            attempts = least(j.attempts, 2147483646)
                + case when j.status = 'doing' then 1 else 0 end
        where j.id = $1 and j.status in ('todo', 'doing');
    end if;
    v_found := found;
    if not v_found then
        raise exception
            'Job was not found or not in "doing" or "todo" status (job id: %)', $1;
    end if;
end;
$$;

comment on function procrastinate_finish_job_v1(
    bigint, procrastinate_job_status, boolean
) is
'Called by 3.x: todo or doing -> ended, or gone. Raises P0001 for another status.';
