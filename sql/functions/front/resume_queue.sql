-- A paused queue is fetched from again.
create function procrastinate_resume_queue(queue_name text)
returns void
language plpgsql volatile parallel unsafe security definer
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
'Ends the pause of a queue and wakes its workers; nothing if it was not paused. '
'Raises PQ003.';
