-- – -> todo for many jobs with options, all or nothing.
create function procrastinate_defer_jobs_v3(
    p_queue_names text[],
    p_task_names text[],
    p_priorities integer[],
    p_locks text[],
    p_queueing_locks text[],
    p_args jsonb[],
    p_scheduled_ats timestamptz[],
    p_options jsonb[]
)
returns setof bigint
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
declare
    v_ids bigint[];
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
    perform _procrastinate_defer_with_options(
        p_queue_names, p_task_names, p_priorities, p_locks, p_queueing_locks, p_args,
        p_scheduled_ats, p_options, v_ids
    );
    return query select i.id from unnest(v_ids) with ordinality as i (id, nr) order by i.nr;
end;
$$;

comment on function procrastinate_defer_jobs_v3(
    text[], text[], integer[], text[], text[], jsonb[], timestamptz[], jsonb[]
) is 'Defers jobs with options, all or none; ids in the order given. Raises PQ003, 23505.';
