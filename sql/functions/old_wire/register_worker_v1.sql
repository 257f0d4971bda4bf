-- Of 3.x: a new worker.
create function procrastinate_register_worker_v1()
returns table (worker_id bigint)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    worker_id := procrastinate_register_worker_v2();
    return next;
end;
$$;

comment on function procrastinate_register_worker_v1() is
'Called by 3.x: registers a worker and returns its id.';
