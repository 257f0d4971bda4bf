-- A worker that ends takes its row with it; jobs that it leaves in doing are stalled at
-- once. "run" as in procrastinate_heartbeat_v1: a row that is another's stays.
create function procrastinate_unregister_worker_v2(
    p_worker_id bigint, p_run text default null
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
    if p_run is not null then
        -- kept until we have removed it
        perform from procrastinate_workers as w
        where w.id = p_worker_id and w.description ->> 'run' = p_run
        for update;
        if not found then
            return false;
        end if;
    end if;
    perform _procrastinate_clear_derived();
    return exists (
        select from _procrastinate_remove_workers(array[p_worker_id], null)
    );
end;
$$;

comment on function procrastinate_unregister_worker_v2(bigint, text) is
'Removes a worker; false if it was not registered, or as another run.';
