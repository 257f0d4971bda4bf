-- Who fetches must be registered. The row is shared with the worker's other lanes and with
-- its heartbeat; a prune takes it whole.
create function _procrastinate_require_worker(p_worker_id bigint)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    perform
    from procrastinate_workers as w
    where w.id = p_worker_id
    for key share skip locked;
    if not found then
        perform _procrastinate_raise('PQ004',
            format('Worker %s is not registered', coalesce(p_worker_id::text, 'null')),
            'It was pruned because its heartbeat stopped, or it has unregistered.',
            'Register again with procrastinate_register_worker_v2; jobs that it held are '
            'recovered or given to others.');
    end if;
    return true;
end;
$$;

comment on function _procrastinate_require_worker(bigint) is
'Raises PQ004 (worker not registered) where the worker''s row is gone or going.';
