-- A queue's name, for the functions that take one.
create function _procrastinate_require_queue(p_queue_name text)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    perform _procrastinate_check_text(p_queue_name, 'queue name', 128, true);
end;
$$;

comment on function _procrastinate_require_queue(text) is
'Raises PQ003 (invalid argument) for a name that no queue can have.';
