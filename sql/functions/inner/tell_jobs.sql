-- NOTIFYs of many jobs on one channel: a payload has less than 8000 bytes, so it goes in
-- parts.
create function _procrastinate_tell_jobs(p_channel text, p_type text, p_job_ids bigint[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_most constant integer := 300;
    v_from integer := 1;
begin
    while v_from <= cardinality(p_job_ids) loop
        perform pg_notify(p_channel, jsonb_build_object(
            'type', p_type, 'job_ids', to_jsonb(p_job_ids[v_from:v_from + v_most - 1])
        )::text);
        v_from := v_from + v_most;
    end loop;
    return true;
end;
$$;

comment on function _procrastinate_tell_jobs(text, text, bigint[]) is
'NOTIFYs a channel of these jobs: {"type": …, "job_ids": […]}, in parts.';
