-- A new worker, with what it says of itself. "wire" is what it calls: names of versioned
-- functions, without "procrastinate_"; no migration removes them while it lives.
create function procrastinate_register_worker_v2(
    p_name text default null,
    p_queues text[] default null,
    p_description jsonb default '{}'
)
returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
declare
    v_id bigint;
begin
    if jsonb_typeof(p_description) <> 'object' then
        perform _procrastinate_raise('PQ003',
            format('The description of a worker is a JSON object, not %s',
                jsonb_typeof(p_description)),
            null, 'Give named facts, such as {"version": "1.2"}.');
    end if;
    perform _procrastinate_check_text(p_name, 'name of a worker', 500, false);
    insert into procrastinate_workers (
        name, queues, description, last_heartbeat, started_at
    )
    values (
        p_name, p_queues, coalesce(p_description, '{}'), procrastinate_now(),
        procrastinate_now()
    )
    returning id into v_id;
    perform _procrastinate_check_wire(p_description -> 'wire');
    return v_id;
end;
$$;

comment on function procrastinate_register_worker_v2(text, text[], jsonb) is
'Registers a worker and returns its id. Raises PQ008 (what it calls is not there), PQ003.';
