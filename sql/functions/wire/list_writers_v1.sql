-- The transactions that may have written a job and are not seen yet: they hold the lock
-- that every statement which writes todo takes first, and which goes after the commit.
--
-- A prepared transaction has no pid, and keeps the lock until it is committed.
create function procrastinate_list_writers_v1()
returns table (pid integer, virtual_transaction text)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    return query
    select distinct l.pid, l.virtualtransaction
    from pg_locks as l
    where
        l.locktype = 'relation'
        and l.relation = 'procrastinate_todo'::regclass
        and l.database = (
            select d.oid from pg_database as d where d.datname = current_database()
        )
        and l.mode = 'RowExclusiveLock'
        and l.granted;
end;
$$;

comment on function procrastinate_list_writers_v1() is
'Transactions that may have written jobs which nobody sees yet, as pg_locks shows them.';
