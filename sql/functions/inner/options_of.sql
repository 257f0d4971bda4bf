-- The options that a job has as jsonb, seconds as numbers: what defers take and fetches
-- return. Whoever fetches asks first whether there are any, and calls this for few.
create function _procrastinate_options_of(p_job procrastinate_jobs)
returns jsonb
language plpgsql stable parallel safe
set search_path from current
as $$
begin
    return jsonb_strip_nulls(jsonb_build_object(
        'timeout', trim_scale(extract(epoch from p_job.timeout)),
        'heartbeat', trim_scale(extract(epoch from p_job.heartbeat)),
        'ttl', trim_scale(extract(epoch from p_job.ttl)),
        'max_attempts', p_job.max_attempts,
        'retry_delay', trim_scale(extract(epoch from p_job.retry_delay)),
        'retry_backoff', p_job.retry_backoff,
        'retry_delay_cap', trim_scale(extract(epoch from p_job.retry_delay_cap)),
        'retry_jitter', p_job.retry_jitter,
        'key', p_job.key,
        'group_key', p_job.group_key,
        'keep_result', p_job.keep_result
    ));
end;
$$;

comment on function _procrastinate_options_of(procrastinate_jobs) is
'Options of a job: timeout, heartbeat, ttl, retries, key, group; {} if it has none.';
