-- These jobs have ended and left a result: NOTIFYs of it if somebody has said to wait.
create function _procrastinate_tell_ended(p_job_ids bigint[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    if p_job_ids <> '{}' and exists (
        select from procrastinate_announcements as a where a.ends_until > clock_timestamp()
    ) then
        return _procrastinate_tell_jobs('procrastinate_ended_v1', 'job_ended', p_job_ids);
    end if;
    return false;
end;
$$;

comment on function _procrastinate_tell_ended(bigint[]) is
'NOTIFYs of the ends of these jobs if somebody waits.';
