-- What a worker says that it calls is there. To be called after the insert of its row: a
-- migration that removes something holds the table, and is over or will see the row.
create function _procrastinate_check_wire(p_wire jsonb)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_missing text;
begin
    if p_wire is null then
        return;
    end if;
    if jsonb_typeof(p_wire) <> 'array' or p_wire @? '$[*] ? (@.type() != "string")' then
        perform _procrastinate_raise('PQ003',
            'What a worker calls ("wire") is a JSON array of names', null,
            'Give names of functions without "procrastinate_", such as "fetch_jobs_v1".');
    end if;
    select string_agg(n.name, ', ' order by n.name) into v_missing
    from jsonb_array_elements_text(p_wire) as n (name)
    where not exists (
        select
        from pg_proc as p
        where
            p.pronamespace = quote_ident(current_schema())::regnamespace
            and p.proname = 'procrastinate_' || n.name
    );
    if v_missing is not null then
        perform _procrastinate_raise('PQ008',
            format('The worker calls what the schema does not have: %s', v_missing),
            null,
            'An older worker: start it in the version that the schema was migrated to. '
            'A newer one: procrastinate schema --migrate.');
    end if;
end;
$$;

comment on function _procrastinate_check_wire(jsonb) is
'Raises PQ008 if a worker calls a function that is not there, PQ003 if it is no list.';
