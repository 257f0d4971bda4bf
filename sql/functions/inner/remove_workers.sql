-- Removes workers, and their number from the jobs in doing, at once; that of finished jobs
-- is taken off by the sweep. With an age only those whose heartbeat is older, and none of
-- those that are in the middle of an exchange: they live.
create function _procrastinate_remove_workers(p_worker_ids bigint[], p_older_than interval)
returns setof bigint
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_gone bigint[];
    v_jobs bigint[];
begin
    if p_older_than is null then
        with gone as (
            delete from procrastinate_workers as w
            where w.id = any(p_worker_ids)
            returning w.id
        )
        select array_agg(g.id order by g.id) into v_gone from gone as g;
    else
        with gone as (
            delete from procrastinate_workers as w
            where
                w.id in (
                    select x.id
                    from procrastinate_workers as x
                    where x.last_heartbeat < procrastinate_now() - p_older_than
                    order by x.id
                    for update skip locked
                )
            returning w.id
        )
        select array_agg(g.id order by g.id) into v_gone from gone as g;
    end if;
    if v_gone is null then
        return;
    end if;

    -- by id: an update alone would lock the rows in the order of its plan
    v_jobs := array(
        select j.id
        from procrastinate_jobs as j
        where
            j.id = any(array(
                select d.job_id
                from procrastinate_doing as d
                where d.worker_id = any(v_gone)
            ))
            and j.status = 'doing'
        order by j.id
        for no key update
    );
    update procrastinate_jobs as j
    set worker_id = null
    where j.id = any(v_jobs) and j.worker_id = any(v_gone) and j.status = 'doing';
    return query select g.id from unnest(v_gone) as g (id) order by g.id;
end;
$$;

comment on function _procrastinate_remove_workers(bigint[], interval) is
'Removes these workers, or those with an old heartbeat, and returns the ids that are gone.';
