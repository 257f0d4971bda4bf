-- The time that a test has set, if whoever set it may: a member of the owner of the schema.
-- Both roles count: inside a security definer function current_user is the owner always.
create function _procrastinate_travelled_now()
returns timestamptz
language plpgsql stable parallel safe
set search_path from current
as $$
declare
    v_owner oid := (
        select c.relowner from pg_class as c where c.oid = 'procrastinate_jobs'::regclass
    );
begin
    if pg_has_role(session_user, v_owner, 'member')
        and pg_has_role(current_user, v_owner, 'member')
    then
        return current_setting('procrastinate.now')::timestamptz;
    end if;
    return now();
end;
$$;

comment on function _procrastinate_travelled_now() is
'The setting procrastinate.now for members of the owner of the schema, else now().';
