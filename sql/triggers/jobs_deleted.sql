-- After a DELETE: what belongs to the jobs goes with them.
create function _procrastinate_jobs_deleted()
returns trigger
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off
set jit = off
as $$
declare
    v_ids bigint[];
    v_active boolean;
    v_locks text[];
begin
    if pg_trigger_depth() > 1 then
        perform set_config('procrastinate.nested', 'on', true);
    end if;
    select
        array_agg(o.id order by o.id),
        bool_or(o.status in ('todo', 'doing')),
        array_agg(distinct o.lock) filter (
            where o.lock is not null and o.status in ('todo', 'doing')
        )
    into v_ids, v_active, v_locks
    from old_jobs as o;
    if v_ids is null then
        return null;
    end if;

    if v_active then
        perform _procrastinate_reconcile(v_ids, v_locks);
    end if;
    insert into procrastinate_counts (queue_name, status, jobs)
    select o.queue_name, o.status, -count(*)
    from old_jobs as o
    where o.status > 'doing'
    group by o.queue_name, o.status;
    delete from procrastinate_events as e where e.job_id = any(v_ids);
    delete from procrastinate_results as r
    where
        r.job_id = any(v_ids)
        and (
            r.status is null
            or r.job_id <> all(array(select o.id from old_jobs as o where o.keep_result))
        );
    delete from procrastinate_keys as k where k.job_id = any(v_ids);
    update procrastinate_periodic_defers as p
    set job_id = null
    where p.job_id = any(v_ids);
    return null;
end;
$$;

comment on function _procrastinate_jobs_deleted() is
'Trigger after DELETE on procrastinate_jobs: derived rows, history and results go too.';

create trigger procrastinate_jobs_deleted_v1
after delete on procrastinate_jobs
referencing old table as old_jobs
for each statement execute function _procrastinate_jobs_deleted();
