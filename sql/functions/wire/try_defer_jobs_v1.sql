-- – -> todo for many jobs, each for itself: a job whose queueing lock is taken is told and
-- the others are deferred.
create function procrastinate_try_defer_jobs_v1(
    p_queue_names text[],
    p_task_names text[],
    p_priorities integer[],
    p_locks text[],
    p_queueing_locks text[],
    p_args jsonb[],
    p_scheduled_ats timestamptz[]
)
returns table (ordinal integer, job_id bigint, conflict text)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
#variable_conflict use_column
declare
    v_job record;
    v_ids bigint[];
    v_constraint text;
begin
    begin
        v_ids := array(
            select x.id
            from procrastinate_defer_jobs_v2(
                p_queue_names, p_task_names, p_priorities, p_locks, p_queueing_locks,
                p_args, p_scheduled_ats
            ) as x (id)
        );
        return query
        select i.nr::integer, i.id, null::text
        from unnest(v_ids) with ordinality as i (id, nr)
        order by i.nr;
        return;
    exception
        when unique_violation then
            get stacked diagnostics v_constraint = constraint_name;
            if v_constraint <> 'procrastinate_jobs_queueing_lock_idx_v1' then
                raise;
            end if;
    end;

    -- one by one, in the order of the queueing locks, so that two batches cannot wait for
    -- each other; the ids are drawn before, in the order given
    v_ids := array(
        select nextval('procrastinate_jobs_id_seq')
        from generate_series(1, cardinality(p_queue_names))
    );
    for v_job in
        select
            u.id, u.queue_name, u.task_name, u.priority, u.lock, u.queueing_lock, u.args,
            u.scheduled_at, u.nr
        from unnest(
            v_ids, p_queue_names, p_task_names, p_priorities, p_locks, p_queueing_locks,
            p_args, p_scheduled_ats
        ) with ordinality as u (
            id, queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at, nr
        )
        order by u.queueing_lock nulls first, u.nr
    loop
        begin
            insert into procrastinate_jobs (
                id, queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at
            )
            values (
                v_job.id, v_job.queue_name, v_job.task_name, coalesce(v_job.priority, 0),
                v_job.lock, v_job.queueing_lock, coalesce(v_job.args, '{}'),
                v_job.scheduled_at
            );
        exception
            when unique_violation then
                get stacked diagnostics v_constraint = constraint_name;
                if v_constraint <> 'procrastinate_jobs_queueing_lock_idx_v1' then
                    raise;
                end if;
                v_ids[v_job.nr] := null;
        end;
    end loop;
    return query
    select
        u.nr::integer, v_ids[u.nr], case when v_ids[u.nr] is null then u.queueing_lock end
    from unnest(p_queueing_locks) with ordinality as u (queueing_lock, nr)
    order by u.nr;
end;
$$;

comment on function procrastinate_try_defer_jobs_v1(
    text[], text[], integer[], text[], text[], jsonb[], timestamptz[]
) is
'Defers each job that can be: its id, or the queueing lock that was taken. Raises PQ003.';
