-- The version of the schema: of the last migration that made it.
create function procrastinate_version()
returns text
language plpgsql stable parallel safe security definer
set search_path from current
as $$
begin
    return (
        select split_part(m.name, '_', 1)
        from procrastinate_migrations as m
        order by m.name desc
        limit 1
    );
end;
$$;

comment on function procrastinate_version() is
'Version of the schema, of the form 04.00.00; null if no migration was recorded.';
