-- Removes the workers whose heartbeat stopped.
create function procrastinate_prune_workers_v1(p_older_than interval)
returns setof bigint
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
    if p_older_than is null or p_older_than < interval '0' then
        perform _procrastinate_raise('PQ003',
            format('The age of a stalled worker is %s',
                coalesce(p_older_than::text, 'null')),
            null,
            'Give the age of the last heartbeat from which a worker counts as stalled.');
    end if;
    return query
    select w.id
    from _procrastinate_remove_workers(null, p_older_than) as w (id);
end;
$$;

comment on function procrastinate_prune_workers_v1(interval) is
'Removes the workers whose heartbeat is older than this; returns their ids. Raises PQ003.';
