-- For functions that answer false where a transition does not apply: an unknown job is an
-- error.
create function _procrastinate_require_job(p_job_id bigint)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    if p_job_id is null or not exists (
        select from procrastinate_jobs as j where j.id = p_job_id
    ) then
        perform _procrastinate_raise('PQ002',
            format('There is no job %s', coalesce(p_job_id::text, 'null')),
            'It was never deferred, or it was deleted.',
            'Look for it in procrastinate_jobs.');
    end if;
end;
$$;

comment on function _procrastinate_require_job(bigint) is
'Raises PQ002 (job not found) for an id that no job has.';
