-- A paused queue's jobs stay where they are and no fetch looks at them: one row is written,
-- however many wait.
create function procrastinate_pause_queue(
    queue_name text, reason text default null, until timestamptz default null
)
returns void
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    perform _procrastinate_require_queue($1);
    insert into procrastinate_queues as q (
        queue_name, paused_at, pause_reason, paused_until
    )
    values ($1, procrastinate_now(), $2, $3)
    on conflict on constraint procrastinate_queues_pkey do update
    set
        paused_at = excluded.paused_at,
        pause_reason = excluded.pause_reason,
        paused_until = excluded.paused_until;
end;
$$;

comment on function procrastinate_pause_queue(text, text, timestamptz) is
'From the next fetch on nobody gets jobs of this queue, for ever or until then. '
'Raises PQ003.';
