-- Many small changes of the numbers of finished jobs become one a queue and status. One at
-- a time; who comes second has nothing to do.
create function _procrastinate_fold_counts()
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    if not pg_try_advisory_xact_lock(_procrastinate_all_locks_key(2)) then
        return;
    end if;
    with old as (
        delete from procrastinate_counts as c
        returning c.queue_name, c.status, c.jobs
    )
    insert into procrastinate_counts (queue_name, status, jobs)
    select o.queue_name, o.status, sum(o.jobs)
    from old as o
    group by o.queue_name, o.status
    having sum(o.jobs) <> 0;
end;
$$;

comment on function _procrastinate_fold_counts() is
'Adds up the changes of the numbers of finished jobs.';
