-- Makes the roles that are not there, without a login, and gives each of them the rights of
-- its part and no other: safe to be called again, and to be after each migration.
create function procrastinate_create_roles(
    producer text default 'procrastinate_producer',
    worker text default 'procrastinate_worker',
    operator text default 'procrastinate_operator',
    auditor text default 'procrastinate_auditor'
)
returns table (role text, part text, created boolean)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
#variable_conflict use_column
declare
    v_schema constant text := quote_ident(current_schema());
    v_parts constant text[] := array['producer', 'worker', 'operator', 'auditor'];
    v_names constant text[] := array[$1, $2, $3, $4];
    v_created boolean[];
    v_one record;
begin
    perform _procrastinate_check_roles(v_names);
    for v_nr in 1..4 loop
        continue when v_names[v_nr] is null;
        v_created[v_nr] := not exists (
            select from pg_roles as r where r.rolname = v_names[v_nr]
        );
        if v_created[v_nr] then
            execute format('create role %I nologin', v_names[v_nr]);
        end if;
    end loop;

    -- first all that they have: a name may stand for two parts
    for v_one in
        select distinct s.statement
        from unnest(v_names) as n (name)
        cross join lateral (
            select format('revoke all on function %s from %I', p.oid::regprocedure, n.name)
            from pg_proc as p
            where
                p.pronamespace = v_schema::regnamespace
                and p.proname ~ '^_?procrastinate_' and p.prokind = 'f'
            union all
            select format('revoke all on %s %s from %I',
                case c.relkind when 'S' then 'sequence' else 'table' end,
                c.oid::regclass, n.name)
            from pg_class as c
            where
                c.relnamespace = v_schema::regnamespace
                and c.relname ^@ 'procrastinate_' and c.relkind in ('r', 'p', 'v', 'm', 'S')
        ) as s (statement)
        where n.name is not null
    loop
        execute v_one.statement;
    end loop;

    for v_one in
        select s.statement
        from unnest(v_names, v_parts) as n (name, part)
        cross join lateral (
            select format('grant usage on schema %s to %I', v_schema, n.name)
            union all
            select
                format('grant execute on function %s to %I', p.oid::regprocedure, n.name)
            from _procrastinate_rights() as r
            join pg_proc as p
                on p.proname = r.function_name and p.pronamespace = v_schema::regnamespace
            where r.role = n.part
            union all
            select format('grant select (%s) on %I to %I',
                (
                    select string_agg(quote_ident(c.name), ', ')
                    from unnest(t.columns) as c (name)
                ),
                t.relation, n.name)
            from _procrastinate_rights_on_tables() as t
            where t.role = n.part
        ) as s (statement)
        where n.name is not null
    loop
        execute v_one.statement;
    end loop;

    return query
    select u.name, u.part, u.created
    from unnest(v_names, v_parts, v_created) as u (name, part, created)
    where u.name is not null;
end;
$$;

comment on function procrastinate_create_roles(text, text, text, text) is
'Creates the roles for producers, workers, operators and auditors; sets their rights.';
