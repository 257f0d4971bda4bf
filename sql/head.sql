-- Procrastinate Schema
--
-- Makes a job queue of the first schema of the search_path, which must not hold one:
--     psql -1 -v ON_ERROR_STOP=1 -f <this file>

-- Seen by the next statement only if both run in one transaction.
do $$
begin
    perform set_config('procrastinate.one_transaction', 'yes', true);
end;
$$;

-- Nothing can be created from here until the next block has agreed, not even by a client
-- that goes on after an error.
do $$
declare
    v_local boolean := coalesce(
        current_setting('procrastinate.one_transaction', true) = 'yes', false
    );
begin
    perform
        set_config('procrastinate.target_schema', coalesce(current_schema(), ''), v_local),
        set_config('procrastinate.caller_path', current_setting('search_path'), v_local);
    perform set_config('search_path', '', v_local);
end;
$$;

-- Every name below is meant in this one schema, and "set search_path from current" freezes
-- that into each function; pg_temp is last, so that no temporary table takes a name over.
do $$
declare
    v_local boolean := coalesce(
        current_setting('procrastinate.one_transaction', true) = 'yes', false
    );
    v_schema text := current_setting('procrastinate.target_schema');
    v_there text[];
begin
    if v_schema = '' or v_schema ^@ 'pg_' then
        raise exception 'no schema has been selected to create in'
            using errcode = '3F000',
                detail = 'search_path: ' || current_setting('procrastinate.caller_path'),
                hint = 'Name an existing schema first in search_path.';
    end if;
    perform set_config('search_path', quote_ident(v_schema) || ', pg_temp', v_local);

    -- Whoever installs or migrates this schema at the same time waits here for our end.
    perform pg_advisory_xact_lock(hashtext('procrastinate_migrations'), hashtext(v_schema));

    -- Read from the catalogue: to_regclass would answer what this session remembers from
    -- before the wait.
    select coalesce(array_agg(c.relname::text), '{}') into v_there
    from pg_class as c
    where
        c.relnamespace = quote_ident(v_schema)::regnamespace
        and c.relname ~ '^procrastinate_';

    -- unless it adopts
    if 'procrastinate_jobs' = any(v_there) and 'procrastinate_migrations' <> all(v_there)
    then
        raise exception 'schema "%" holds the tables of procrastinate 3.x', v_schema
            using errcode = 'PQ008',
                detail = 'procrastinate_jobs exists, procrastinate_migrations does not.',
                hint = 'Run procrastinate schema --migrate: it adopts them, with all jobs.';
    end if;
    -- guard
end;
$$;
