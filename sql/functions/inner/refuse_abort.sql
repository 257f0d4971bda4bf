-- The error of a check constraint that there is not, since PostgreSQL would read its text
-- anew for each statement: 3.x clients know it by this name.
create function _procrastinate_refuse_abort(p_job_id bigint)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    raise exception using
        errcode = 'check_violation',
        constraint = 'check_not_todo_abort_requested',
        schema = current_schema(),
        table = 'procrastinate_jobs',
        message = 'new row for relation "procrastinate_jobs" violates check constraint '
            || '"check_not_todo_abort_requested"',
        detail = format('Job %s waits (todo): only one that runs can be asked to abort.',
            p_job_id),
        hint = 'Cancel it: select procrastinate_cancel_job(...).';
end;
$$;

comment on function _procrastinate_refuse_abort(bigint) is
'Raises check_violation (check_not_todo_abort_requested) for a waiting job asked to abort.';
