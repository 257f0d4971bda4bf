-- One NOTIFY to the queue of a job and one to those who listen to all queues.
create function _procrastinate_notify(p_queue_name text, p_type text, p_job_id bigint)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_payload constant text := format('{"type" : "%s", "job_id" : %s}', p_type, p_job_id);
begin
    return
        pg_notify(_procrastinate_channel(p_queue_name), v_payload) is not null
        and pg_notify('procrastinate_any_queue_v1', v_payload) is not null;
end;
$$;

comment on function _procrastinate_notify(text, text, bigint) is
'Tells the workers of a queue, and those of all queues, of a job.';
