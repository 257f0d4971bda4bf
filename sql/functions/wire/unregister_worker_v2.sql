-- A worker that ends takes its row with it; jobs that it leaves in doing are stalled at
-- once.
create function procrastinate_unregister_worker_v2(p_worker_id bigint)
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
    return exists (
        select from _procrastinate_remove_workers(array[p_worker_id], null)
    );
end;
$$;

comment on function procrastinate_unregister_worker_v2(bigint) is
'Removes a worker; false if it was not registered.';
