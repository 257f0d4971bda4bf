-- A paused queue's jobs stay where they are and no fetch looks at them: one row is written,
-- however many wait.
create function procrastinate_pause_queue(
    queue_name text, reason text default null, until timestamptz default null
)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    perform _procrastinate_require_queue($1);
    insert into procrastinate_queues as q (queue_name, paused_at, pause_reason, paused_until)
    values ($1, procrastinate_now(), $2, $3)
    on conflict on constraint procrastinate_queues_pkey do update
    set
        paused_at = excluded.paused_at,
        pause_reason = excluded.pause_reason,
        paused_until = excluded.paused_until;
end;
$$;

comment on function procrastinate_pause_queue(text, text, timestamptz) is
'From the next fetch on nobody gets jobs of this queue, for ever or until then. Raises PQ003.';

create function procrastinate_resume_queue(queue_name text)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    perform _procrastinate_require_queue($1);
    update procrastinate_queues as q
    set paused_at = null, pause_reason = null, paused_until = null
    where q.queue_name = $1 and q.paused_at is not null;
    if found then
        perform _procrastinate_notify($1, 'job_inserted', 0);
    end if;
end;
$$;

comment on function procrastinate_resume_queue(text) is
'Ends the pause of a queue and wakes its workers; nothing if it was not paused. Raises PQ003.';
