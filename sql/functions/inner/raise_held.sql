-- The error of a unique index that there is not: 3.x clients know it by this name.
create function _procrastinate_raise_held(p_lock text)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    raise exception using
        errcode = 'unique_violation',
        constraint = 'procrastinate_jobs_lock_idx_v1',
        schema = current_schema(),
        table = 'procrastinate_doing',
        message = 'duplicate key value violates unique constraint '
            || '"procrastinate_jobs_lock_idx_v1"',
        detail = format('Key (lock)=(%s) already exists.', p_lock),
        hint = 'A job with this lock is in doing: let it end, '
            'or retry it if its worker is gone.';
end;
$$;

comment on function _procrastinate_raise_held(text) is
'Raises unique_violation (procrastinate_jobs_lock_idx_v1) for a lock that is held.';
