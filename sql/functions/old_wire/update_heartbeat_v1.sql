-- Of 3.x: a worker lives. An unknown one changes nothing.
create function procrastinate_update_heartbeat_v1(worker_id bigint)
returns void
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    update procrastinate_workers as w
    set last_heartbeat = procrastinate_now()
    where w.id = $1;
end;
$$;

comment on function procrastinate_update_heartbeat_v1(bigint) is
'Called by 3.x: beats for a worker.';
