-- Of 3.x: removes the workers whose heartbeat stopped.
create function procrastinate_prune_stalled_workers_v1(
    seconds_since_heartbeat double precision
)
returns table (worker_id bigint)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    perform _procrastinate_clear_derived();
    return query
    select w.id
    from procrastinate_prune_workers_v1(make_interval(secs => $1)) as w (id);
end;
$$;

comment on function procrastinate_prune_stalled_workers_v1(double precision) is
'Called by 3.x: removes workers whose heartbeat is older than these seconds.';
