-- One tick of a periodic task becomes a job once, however many workers come with it, and
-- however late. The rows of the ticks before it go, as in 3.x; their times stay in its own,
-- down to a thousand before it. A worker that lags further behind than that is refused.
create function _procrastinate_defer_periodic(
    p_task_name text,
    p_periodic_id text,
    p_defer_timestamp bigint,
    p_queue_name text,
    p_priority integer,
    p_lock text,
    p_queueing_lock text,
    p_args jsonb,
    p_options jsonb
)
returns bigint
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_kept constant integer := 1000;
    v_id bigint;
    v_job_id bigint;
    v_earlier bigint[];
begin
    insert into procrastinate_periodic_defers (task_name, periodic_id, defer_timestamp)
    values (p_task_name, p_periodic_id, p_defer_timestamp)
    on conflict do nothing
    returning id into v_id;
    if v_id is null then
        return null;
    end if;
    -- after the insert: it has waited for whoever was about to delete this very tick's row
    if exists (
        select
        from procrastinate_periodic_defers as p
        where
            p.task_name = p_task_name
            and p.periodic_id = p_periodic_id
            and p.defer_timestamp > p_defer_timestamp
            and (
                p_defer_timestamp = any(p.earlier)
                or p_defer_timestamp < p.earlier[v_kept]
            )
    ) then
        delete from procrastinate_periodic_defers as p where p.id = v_id;
        return null;
    end if;

    if p_options is null then
        insert into procrastinate_jobs (
            queue_name, task_name, priority, lock, queueing_lock, args
        )
        values (
            p_queue_name, p_task_name, coalesce(p_priority, 0), p_lock, p_queueing_lock,
            coalesce(p_args, '{}')
        )
        returning id into v_job_id;
    else
        v_job_id := nextval('procrastinate_jobs_id_seq');
        perform _procrastinate_defer_with_options(
            array[p_queue_name], array[p_task_name], array[p_priority], array[p_lock],
            array[p_queueing_lock], array[p_args], '{}', array[p_options], array[v_job_id]
        );
    end if;

    -- a row that is locked is taken in by whoever holds it, or by the next tick
    with gone as (
        delete from procrastinate_periodic_defers as p
        where p.id in (
            select x.id
            from procrastinate_periodic_defers as x
            where
                x.task_name = p_task_name
                and x.periodic_id = p_periodic_id
                and x.defer_timestamp < p_defer_timestamp
            order by x.id
            for update skip locked
        )
        returning p.defer_timestamp, p.earlier
    )
    select array_agg(t.tick order by t.tick desc) into v_earlier
    from (
        select distinct e.tick
        from gone as g
        cross join lateral unnest(g.earlier || g.defer_timestamp) as e (tick)
        order by e.tick desc
        limit v_kept
    ) as t;
    update procrastinate_periodic_defers as p
    set job_id = v_job_id, earlier = coalesce(v_earlier, '{}')
    where p.id = v_id;
    return v_job_id;
end;
$$;

comment on function _procrastinate_defer_periodic(
    text, text, bigint, text, integer, text, text, jsonb, jsonb
) is 'Defers one tick of a periodic task, or returns null if that tick was taken.';
