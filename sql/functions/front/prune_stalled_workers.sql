-- Workers whose heartbeat stopped are removed; their jobs stay in doing, with no worker.
create function procrastinate_prune_stalled_workers(
    older_than interval default '30 seconds'
)
returns setof bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    perform _procrastinate_clear_derived();
    return query select w.id from procrastinate_prune_workers_v1($1) as w (id);
end;
$$;

comment on function procrastinate_prune_stalled_workers(interval) is
'Removes workers whose heartbeat is older than this and returns their ids. Raises PQ003.';
