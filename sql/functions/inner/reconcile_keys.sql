-- Makes procrastinate_keys true for these jobs, from their present rows. Raises
-- unique_violation (procrastinate_keys_pkey) where another active job has a key.
--
-- In the order of the keys, and before their rows of todo: two statements that want the
-- same keys do not wait for each other in a circle.
create function _procrastinate_reconcile_keys(p_job_ids bigint[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    delete from procrastinate_keys as k
    where
        k.job_id = any(p_job_ids)
        and not exists (
            select
            from procrastinate_jobs as j
            where j.id = k.job_id and j.key = k.key and j.status in ('todo', 'doing')
        );
    insert into procrastinate_keys (key, job_id)
    select j.key, j.id
    from procrastinate_jobs as j
    where
        j.id = any(p_job_ids)
        and j.key is not null
        and j.status in ('todo', 'doing')
        and not exists (select from procrastinate_keys as k where k.job_id = j.id)
    order by j.key;
    return true;
end;
$$;

comment on function _procrastinate_reconcile_keys(bigint[]) is
'Derives the keys of these jobs anew. Raises unique_violation (a key is in use).';
