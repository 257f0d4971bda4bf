-- The channel of a queue. A channel's name has at most 63 bytes, 23 of which are the prefix:
-- a longer queue is announced under the hash of its name (docs/decisions/0006-notify.md).
create function _procrastinate_channel(p_queue_name text)
returns text
language sql immutable strict parallel safe
return 'procrastinate_queue_v1#' || case
    when octet_length(p_queue_name) <= 40 then p_queue_name else md5(p_queue_name)
end;

comment on function _procrastinate_channel(text) is
'NOTIFY channel of a queue: its name, or the hash of a name over 40 bytes.';

create function _procrastinate_notify(p_queue_name text, p_type text, p_job_id bigint)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_payload constant text := format('{"type" : "%s", "job_id" : %s}', p_type, p_job_id);
begin
    perform pg_notify(_procrastinate_channel(p_queue_name), v_payload);
    perform pg_notify('procrastinate_any_queue_v1', v_payload);
end;
$$;

comment on function _procrastinate_notify(text, text, bigint) is
'Tells the workers of a queue, and those of all queues, of a job.';
