-- Refuses what would make the roles worth nothing, before any is made: whoever may create
-- objects beside ours can put a function in the way of one that runs as the owner.
create function _procrastinate_check_roles(p_names text[])
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_owner constant oid := (
        select c.relowner from pg_class as c where c.oid = 'procrastinate_jobs'::regclass
    );
    v_schema constant name := current_schema();
    v_name text;
begin
    if not pg_has_role(current_user, v_owner, 'usage') then
        perform _procrastinate_raise('42501',
            format('Only the owner of the schema''s tables, "%s", can grant rights on them',
                pg_get_userbyid(v_owner)),
            format('You are "%s".', current_user), 'Call it as that role.');
    end if;
    foreach v_name in array array_remove(p_names, null) loop
        perform _procrastinate_check_text(v_name, 'name of a role', 63, true);
        if exists (
            select from pg_roles as r
            where
                r.rolname = v_name
                and (r.rolcreaterole or pg_has_role(r.oid, v_owner, 'member'))
        ) then
            perform _procrastinate_raise('PQ003',
                format('The role "%s" has all rights already', v_name),
                format('It may create roles, or act as "%s".', pg_get_userbyid(v_owner)),
                'Name a role that is given no more than what its part needs.');
        end if;
    end loop;
    if exists (
        select
        from pg_namespace as n
        cross join lateral aclexplode(n.nspacl) as x
        left join pg_roles as r on r.oid = x.grantee
        where
            n.nspname = v_schema and x.privilege_type = 'CREATE'
            and (x.grantee = 0 or r.rolname = any(p_names))
    ) then
        perform _procrastinate_raise('PQ003',
            format('PUBLIC or one of the roles may create objects in schema "%s"',
                v_schema),
            'A function there could be called in the place of one of ours, as the owner.',
            format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC;', v_schema));
    end if;
end;
$$;

comment on function _procrastinate_check_roles(text[]) is
'Raises PQ003, 42501 unless roles of these names can be given rights that bound them.';
