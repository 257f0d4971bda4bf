-- What each of the four roles may read. A producer reads nothing; an auditor reads all but
-- what tasks were given and what they gave back: arguments, results, errors, metadata.
create function _procrastinate_rights_on_tables()
returns table (role text, relation text, columns text[])
language plpgsql stable parallel safe
set search_path from current
as $$
#variable_conflict use_column
declare
    v_of_tasks constant text[] := array[
        'procrastinate_jobs.args', 'procrastinate_events.error',
        'procrastinate_events.details'
    ];
begin
    return query
    select x.role, c.relname::text, array_agg(a.attname::text order by a.attnum)
    from pg_class as c
    join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    join (
        values
            ('worker', array[
                'procrastinate_doing', 'procrastinate_events', 'procrastinate_jobs',
                'procrastinate_results', 'procrastinate_todo', 'procrastinate_workers'
            ]),
            ('operator', array[
                'procrastinate_counts', 'procrastinate_doing', 'procrastinate_events',
                'procrastinate_jobs', 'procrastinate_keys', 'procrastinate_locks',
                'procrastinate_migrations', 'procrastinate_overview',
                'procrastinate_periodic_defers', 'procrastinate_priorities',
                'procrastinate_queues', 'procrastinate_results', 'procrastinate_stalled',
                'procrastinate_todo', 'procrastinate_workers'
            ]),
            ('auditor', array[
                'procrastinate_counts', 'procrastinate_doing', 'procrastinate_events',
                'procrastinate_jobs', 'procrastinate_locks', 'procrastinate_migrations',
                'procrastinate_overview', 'procrastinate_periodic_defers',
                'procrastinate_queues', 'procrastinate_stalled', 'procrastinate_todo',
                'procrastinate_workers'
            ])
    ) as x (role, relations) on c.relname = any(x.relations)
    where
        c.relnamespace = quote_ident(current_schema())::regnamespace
        and not (
            x.role = 'auditor' and format('%s.%s', c.relname, a.attname) = any(v_of_tasks)
        )
    group by x.role, c.relname;
end;
$$;

comment on function _procrastinate_rights_on_tables() is
'Which columns of which tables and views a worker, an operator and an auditor may read.';
