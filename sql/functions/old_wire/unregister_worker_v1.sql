-- Of 3.x: a worker ends.
create function procrastinate_unregister_worker_v1(worker_id bigint)
returns void
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    perform _procrastinate_clear_derived();
    perform procrastinate_unregister_worker_v2($1);
end;
$$;

comment on function procrastinate_unregister_worker_v1(bigint) is
'Called by 3.x: removes a worker; an unknown one changes nothing.';
