-- Why these attempts failed, into the newest event of each job: in a line, and all of it.
create function _procrastinate_note_errors(p_job_ids bigint[], p_errors jsonb[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    update procrastinate_events as e
    set
        details = u.error,
        error = coalesce(
            e.error,
            regexp_replace(u.error ->> 'class', '^.*\.', '')
            || coalesce(': ' || left(u.error ->> 'message', 1000), '')
        )
    from unnest(p_job_ids, p_errors) as u (job_id, error)
    where
        e.job_id = u.job_id
        and jsonb_typeof(u.error) = 'object'
        and e.id = (
            select max(x.id) from procrastinate_events as x where x.job_id = u.job_id
        );
    return true;
end;
$$;

comment on function _procrastinate_note_errors(bigint[], jsonb[]) is
'Writes errors {class, message, traceback, attempt} into the newest event of each job.';
