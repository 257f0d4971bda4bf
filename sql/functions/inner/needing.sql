-- Which workers call any of these functions, by their names without "procrastinate_". One
-- that did not say what it calls, as 3.x before it was adopted, is taken to call all.
create function _procrastinate_needing(p_functions text[])
returns table (worker_id bigint, alive boolean, functions text[], sentence text)
language plpgsql stable parallel safe
set search_path from current
as $$
begin
    return query
    select
        w.id,
        w.last_heartbeat >= procrastinate_now() - interval '30 seconds',
        n.functions,
        format('worker %s (%s) calls %s',
            w.id,
            concat_ws(', ',
                w.name,
                'version ' || coalesce(w.description ->> 'procrastinate', 'unknown'),
                'host ' || (w.description ->> 'hostname'),
                'process ' || (w.description ->> 'pid')),
            array_to_string(n.functions, ', '))
    from procrastinate_workers as w
    cross join lateral (
        select array_agg(f.name order by f.name) as functions
        from unnest(p_functions) as f (name)
        where not w.description ? 'wire' or w.description -> 'wire' ? f.name
    ) as n
    where n.functions is not null
    order by w.id;
end;
$$;

comment on function _procrastinate_needing(text[]) is
'Workers that call any of these functions, which of them, and whether they live.';
