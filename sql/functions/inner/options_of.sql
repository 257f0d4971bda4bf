-- The options of a job as jsonb, seconds as numbers, null where it has none: what defers
-- take and fetches return. In sql, so that it becomes part of the query that uses it.
create function _procrastinate_options_of(p_job procrastinate_jobs)
returns jsonb
language sql stable parallel safe
return case
    when num_nonnulls(
        (p_job).timeout, (p_job).heartbeat, (p_job).ttl, (p_job).max_attempts,
        (p_job).retry_delay, (p_job).retry_backoff, (p_job).retry_delay_cap,
        (p_job).retry_jitter, (p_job).key, (p_job).group_key, (p_job).keep_result
    ) > 0
        then jsonb_strip_nulls(jsonb_build_object(
            'timeout', trim_scale(extract(epoch from (p_job).timeout)),
            'heartbeat', trim_scale(extract(epoch from (p_job).heartbeat)),
            'ttl', trim_scale(extract(epoch from (p_job).ttl)),
            'max_attempts', (p_job).max_attempts,
            'retry_delay', trim_scale(extract(epoch from (p_job).retry_delay)),
            'retry_backoff', (p_job).retry_backoff,
            'retry_delay_cap', trim_scale(extract(epoch from (p_job).retry_delay_cap)),
            'retry_jitter', (p_job).retry_jitter,
            'key', (p_job).key,
            'group_key', (p_job).group_key,
            'keep_result', (p_job).keep_result
        ))
end;

comment on function _procrastinate_options_of(procrastinate_jobs) is
'Options of a job: timeout, heartbeat, ttl, retries, key, group; null if it has none.';
