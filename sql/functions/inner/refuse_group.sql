-- Only the functions that defer give a group's jobs their lock: one without it would run
-- beside the others.
create function _procrastinate_refuse_group(p_group_key text)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    perform _procrastinate_raise('PQ003',
        format('A job of the group "%s" has no lock', p_group_key), null,
        'Defer it with procrastinate_defer_job(…, group_key => …).');
end;
$$;

comment on function _procrastinate_refuse_group(text) is
'Raises PQ003 (invalid argument) for a job of a group that was inserted without its lock.';
