-- Refuses a tick of a periodic task that cannot be meant, before anything is written.
create function _procrastinate_check_tick(
    p_task_name text,
    p_periodic_id text,
    p_defer_timestamp bigint,
    p_queue_name text,
    p_args jsonb
)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    perform _procrastinate_check_text(p_queue_name, 'queue name', 128, true);
    perform _procrastinate_check_text(p_task_name, 'task name', 128, true);
    perform _procrastinate_check_text(
        coalesce(p_periodic_id, ''), 'periodic id', 128, false
    );
    perform _procrastinate_check_args(p_args);
    if p_defer_timestamp is null then
        perform _procrastinate_raise('PQ003', 'The tick of the periodic task is null', null,
            'Give the time of the tick in seconds since the epoch.');
    end if;
end;
$$;

comment on function _procrastinate_check_tick(text, text, bigint, text, jsonb) is
'Raises PQ003 (invalid argument) for a tick of a periodic task that cannot be meant.';
