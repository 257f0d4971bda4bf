-- – -> todo for many jobs with options, each for itself: a job whose key or queueing lock
-- is taken is told, with the job that has it, and the others are deferred.
--
-- Keys are taken first, all in one order, then queueing locks, in theirs, as a defer of all
-- or none does it: two batches do not wait for each other in a circle.
create function procrastinate_try_defer_jobs_v2(
    p_queue_names text[],
    p_task_names text[],
    p_priorities integer[],
    p_locks text[],
    p_queueing_locks text[],
    p_args jsonb[],
    p_scheduled_ats timestamptz[],
    p_options jsonb[]
)
returns table (
    ordinal integer, job_id bigint, conflict text, reason text, other_job_id bigint
)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
#variable_conflict use_column
declare
    v_ids bigint[];
    v_twice integer[];
    v_nrs integer[];  -- those to defer; then, those to defer one by one
    v_nr integer;
    v_constraint text;
begin
    perform
        _procrastinate_check_jobs(p_queue_names, p_task_names, p_args, array[
            cardinality(p_priorities), cardinality(p_locks), cardinality(p_queueing_locks),
            cardinality(p_scheduled_ats), cardinality(p_options)
        ]),
        _procrastinate_check_options(p_options, p_locks);
    v_ids := array(
        select nextval('procrastinate_jobs_id_seq')
        from generate_series(1, cardinality(p_queue_names))
    );
    insert into procrastinate_keys as k (key, job_id)
    select u.options ->> 'key', u.id
    from unnest(v_ids, p_options) with ordinality as u (id, options, nr)
    where u.options ->> 'key' is not null
    order by u.options ->> 'key', u.nr
    on conflict do nothing;
    v_twice := array(
        select u.nr
        from unnest(v_ids, p_options) with ordinality as u (id, options, nr)
        where
            u.options ->> 'key' is not null
            and not exists (select from procrastinate_keys as k where k.job_id = u.id)
    );

    v_nrs := array(
        select u.nr::integer
        from unnest(v_ids, p_queueing_locks) with ordinality as u (id, queueing_lock, nr)
        where u.nr <> all(v_twice) and u.id is not null
        order by u.queueing_lock nulls first, u.nr
    );
    begin
        perform _procrastinate_defer_with_options(
            array(select p_queue_names[n.nr] from unnest(v_nrs) as n (nr)),
            array(select p_task_names[n.nr] from unnest(v_nrs) as n (nr)),
            array(select p_priorities[n.nr] from unnest(v_nrs) as n (nr)),
            array(select p_locks[n.nr] from unnest(v_nrs) as n (nr)),
            array(select p_queueing_locks[n.nr] from unnest(v_nrs) as n (nr)),
            array(select p_args[n.nr] from unnest(v_nrs) as n (nr)),
            array(select p_scheduled_ats[n.nr] from unnest(v_nrs) as n (nr)),
            array(select p_options[n.nr] from unnest(v_nrs) as n (nr)),
            array(select v_ids[n.nr] from unnest(v_nrs) as n (nr))
        );
        v_nrs := '{}';
    exception
        when unique_violation then
            get stacked diagnostics v_constraint = constraint_name;
            if v_constraint <> 'procrastinate_jobs_queueing_lock_idx_v1' then
                raise;
            end if;
    end;

    foreach v_nr in array v_nrs loop
        begin
            perform _procrastinate_defer_with_options(
                p_queue_names[v_nr:v_nr], p_task_names[v_nr:v_nr],
                p_priorities[v_nr:v_nr], p_locks[v_nr:v_nr], p_queueing_locks[v_nr:v_nr],
                p_args[v_nr:v_nr], p_scheduled_ats[v_nr:v_nr], p_options[v_nr:v_nr],
                v_ids[v_nr:v_nr]
            );
        exception
            when unique_violation then
                get stacked diagnostics v_constraint = constraint_name;
                if v_constraint <> 'procrastinate_jobs_queueing_lock_idx_v1' then
                    raise;
                end if;
                delete from procrastinate_keys as k where k.job_id = v_ids[v_nr];
                v_ids[v_nr] := null;
        end;
    end loop;

    return query
    select
        u.nr::integer,
        case when not u.keyless then u.id end,
        case when u.keyless then u.options ->> 'key' when u.id is null then u.lock end,
        case when u.keyless then 'key' when u.id is null then 'queueing_lock' end,
        case
            when u.keyless then (
                select k.job_id from procrastinate_keys as k
                where k.key = u.options ->> 'key'
            )
            when u.id is null then (
                select t.job_id from procrastinate_todo as t where t.queueing_lock = u.lock
            )
        end
    from (
        select x.nr, x.id, x.options, x.lock, x.nr = any(v_twice) as keyless
        from unnest(v_ids, p_options, p_queueing_locks) with ordinality as x (
            id, options, lock, nr
        )
    ) as u
    order by u.nr;
end;
$$;

comment on function procrastinate_try_defer_jobs_v2(
    text[], text[], integer[], text[], text[], jsonb[], timestamptz[], jsonb[]
) is
'Defers each job that can be: its id, or what was taken, and by which job. Raises PQ003.';
