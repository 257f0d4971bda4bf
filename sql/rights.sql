-- Who may do what: the owner of the schema, and whoever the owner grants it to. PostgreSQL
-- gives EXECUTE on each new function to everybody: here it is taken back, by name of what
-- this project installs and of nothing else in the schema.
do $$
declare
    v_function regprocedure;
begin
    for v_function in
        select p.oid
        from pg_proc as p
        where
            p.pronamespace = quote_ident(current_schema())::regnamespace
            and p.proname ~ '^_?procrastinate_'
            and p.prokind = 'f'
        order by p.oid
    loop
        execute format('revoke execute on function %s from public', v_function);
    end loop;
end;
$$;

-- The condition of a trigger is looked at as whoever updates.
grant execute on function _procrastinate_derives() to public;
