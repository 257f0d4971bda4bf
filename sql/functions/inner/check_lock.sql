-- Locks and queueing locks are in indexes, whose entries have at most 2704 bytes with all
-- that is beside them.
create function _procrastinate_check_lock(p_lock text)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    if octet_length(p_lock) > 2000 then
        perform _procrastinate_raise('PQ003',
            format('A lock or queueing lock has %s bytes: at most 2000 are allowed',
                octet_length(p_lock)),
            format('It begins with "%s".', left(p_lock, 40)), 'Use a shorter one.');
    end if;
end;
$$;

comment on function _procrastinate_check_lock(text) is
'Raises PQ003 for a lock or queueing lock of more than 2000 bytes.';
