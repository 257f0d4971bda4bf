-- A trigger of a user's has made something else of jobs that were to start or to end:
-- another status, another lock, or nothing at all. What is derived then follows from the
-- jobs as they are; where it does so already, a trigger of ours has been there.
create function _procrastinate_changed_otherwise(
    p_job_ids bigint[], p_from procrastinate_job_status
)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_ids bigint[];
    v_new procrastinate_job_status[];
    v_queues text[];
begin
    select array_agg(j.id), array_agg(j.status), array_agg(j.queue_name)
    into v_ids, v_new, v_queues
    from (
        select x.id, x.status, x.queue_name, x.lock
        from procrastinate_jobs as x
        where x.id = any(p_job_ids)
        offset 0
    ) as j
    where
        exists (
            select
            from procrastinate_todo as t
            where
                t.job_id = j.id
                and (j.status <> 'todo' or t.lock is distinct from j.lock)
        )
        or exists (
            select
            from procrastinate_doing as d
            where
                d.job_id = j.id
                and (j.status <> 'doing' or d.lock is distinct from j.lock)
        );
    if v_ids is null then
        return false;
    end if;
    return _procrastinate_jobs_changed(
        v_ids,
        array_fill(p_from, array[cardinality(v_ids)]),
        v_new,
        array_fill(false, array[cardinality(v_ids)]),
        v_queues,
        '{}'
    );
end;
$$;

comment on function _procrastinate_changed_otherwise(bigint[], procrastinate_job_status) is
'Derives anew what a user''s trigger has made of jobs that were to start or to end.';
