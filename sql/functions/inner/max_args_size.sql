-- How large the arguments of a job may be, in bytes as jsonb: the setting
-- procrastinate.max_args_size, or 10 MB. What a session sets counts for members of the
-- owner; for all others it is what the database was given, which they cannot set.
create function _procrastinate_max_args_size()
returns bigint
language plpgsql stable parallel safe
set search_path from current
as $$
declare
    v_size text;
begin
    if pg_has_role(session_user, (
        select c.relowner from pg_class as c where c.oid = 'procrastinate_jobs'::regclass
    ), 'member') then
        v_size := current_setting('procrastinate.max_args_size', true);
    else
        select substr(x.setting, strpos(x.setting, '=') + 1) into v_size
        from pg_db_role_setting as s
        left join pg_database as d on d.oid = s.setdatabase
        cross join lateral unnest(s.setconfig) as x (setting)
        where
            s.setrole = 0
            and (s.setdatabase = 0 or d.datname = current_database())
            and x.setting ^@ 'procrastinate.max_args_size='
        order by s.setdatabase desc
        limit 1;
    end if;
    return coalesce(pg_size_bytes(nullif(v_size, '')), 10485760);
end;
$$;

comment on function _procrastinate_max_args_size() is
'The setting procrastinate.max_args_size, such as 64MB; 10 MB if there is none.';
