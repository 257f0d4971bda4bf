-- todo -> cancelled (or gone), doing asked to abort: for many jobs, an outcome for each.
--
-- Order: rows of the jobs by id, those that others hold left out -> the keys of their locks
-- -> todo and doing, in the triggers.
create function _procrastinate_cancel_many(
    p_job_ids bigint[], p_abort boolean, p_delete boolean
)
returns table (job_id bigint, outcome text)
language plpgsql volatile parallel unsafe
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_todo bigint[];
    v_doing bigint[] := array[]::bigint[];
begin
    if p_delete then  -- not those that a user's foreign key check holds: it would wait
        v_todo := array(
            select j.id
            from procrastinate_jobs as j
            where j.id = any(p_job_ids) and j.status = 'todo'
            order by j.id
            for update skip locked
        );
    else
        v_todo := array(
            select j.id
            from procrastinate_jobs as j
            where j.id = any(p_job_ids) and j.status = 'todo'
            order by j.id
            for no key update skip locked
        );
    end if;
    if p_abort then
        v_doing := array(
            select j.id
            from procrastinate_jobs as j
            where j.id = any(p_job_ids) and j.status = 'doing'
            order by j.id
            for no key update skip locked
        );
    end if;
    perform _procrastinate_lock_jobs(v_todo || v_doing, '{}');

    if p_delete then
        delete from procrastinate_jobs as j where j.id = any(v_todo);
    end if;
    update procrastinate_jobs as j
    set
        abort_requested = p_abort,
        status = case
            when j.status = 'todo' then 'cancelled'::procrastinate_job_status
            else j.status
        end
    where j.id = any(v_todo || v_doing) and j.status in ('todo', 'doing');

    return query
    select
        n.id,
        case
            when n.id = any(v_doing) then 'abort_requested'
            when n.id <> all(v_todo) then 'busy'
            when p_delete then 'deleted'
            else 'cancelled'
        end
    from unnest(p_job_ids) as n (id)
    order by n.id;
end;
$$;

comment on function _procrastinate_cancel_many(bigint[], boolean, boolean) is
'todo -> cancelled or gone, doing: abort asked; for many jobs, an outcome for each.';
