-- Derives the keys anew from all active jobs: for repair, which keeps everybody else out,
-- and derives the rest from them later. Of several with one key the first keeps it; the
-- others go on without.
create function _procrastinate_repair_keys()
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_outer constant text := current_setting('procrastinate.derived', true);
begin
    perform set_config('procrastinate.derived', pg_trigger_depth()::text, true);
    delete from procrastinate_keys;
    update procrastinate_jobs as j
    set key = null
    from (
        select x.id, row_number() over (partition by x.key order by x.id) as nr
        from procrastinate_jobs as x
        where x.key is not null and x.status in ('todo', 'doing')
    ) as k
    where j.id = k.id and k.nr > 1;
    perform set_config('procrastinate.derived', coalesce(v_outer, ''), true);
    insert into procrastinate_keys (key, job_id)
    select j.key, j.id
    from procrastinate_jobs as j
    where j.key is not null and j.status in ('todo', 'doing');
    return true;
end;
$$;

comment on function _procrastinate_repair_keys() is
'Derives procrastinate_keys anew; a key that several active jobs have stays with one.';
