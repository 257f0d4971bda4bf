-- How long a job waits after an attempt that failed, as its data says: the delay, times the
-- factor for each attempt before it, at most the cap, and of that a random part if wished
-- (full jitter).
create function _procrastinate_retry_delay(p_job procrastinate_jobs)
returns interval
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_longest constant double precision := 1e10;  -- seconds, as options may have
    v_delay double precision := coalesce(extract(epoch from p_job.retry_delay), 0);
    v_factor constant double precision := coalesce(p_job.retry_backoff, 1);
begin
    if v_delay > 0 and v_factor > 0 and p_job.attempts > 0 then
        -- by logarithms: a power may be too large for a number, or too small
        v_delay := exp(greatest(
            least(ln(v_delay) + p_job.attempts * ln(v_factor), ln(v_longest)), -50
        ));
    elsif v_factor = 0 and p_job.attempts > 0 then
        v_delay := 0;
    end if;
    v_delay := least(v_delay, extract(epoch from p_job.retry_delay_cap), v_longest);
    if p_job.retry_jitter then
        v_delay := v_delay * random();
    end if;
    return make_interval(secs => v_delay);
end;
$$;

comment on function _procrastinate_retry_delay(procrastinate_jobs) is
'Delay before the next attempt of a job of which one more has just failed.';
