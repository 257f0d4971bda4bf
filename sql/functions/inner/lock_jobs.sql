-- Everything that a statement with many changes will wait for, in the one order: the rows
-- of the jobs by id, then the keys of all locks that they have or get. What follows may
-- then change them one by one without meeting another statement half way.
create function _procrastinate_lock_jobs(p_job_ids bigint[], p_locks text[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_locks text[];
begin
    perform
    from procrastinate_jobs as j
    where j.id = any(p_job_ids)
    order by j.id
    for no key update;

    select array_agg(distinct l.lock) into v_locks
    from (
        select j.lock from procrastinate_jobs as j where j.id = any(p_job_ids)
        union all
        select n.lock from unnest(p_locks) as n (lock)
    ) as l
    where l.lock is not null;
    return v_locks is null or _procrastinate_take_locks(v_locks);
end;
$$;

comment on function _procrastinate_lock_jobs(bigint[], text[]) is
'Locks these jobs by id, then the keys of their locks and of the locks given.';
