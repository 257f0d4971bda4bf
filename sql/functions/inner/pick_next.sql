-- The next jobs of a worker: locks the rows of at most p_limit, for finish_and_fetch.
--
-- The straight way is for a worker of one queue that finds as many as it has slots where
-- its last claim ended, or handed over by the end of its own: one statement instead of the
-- dozen that the general way takes (docs/decisions/0003-low-water-marks.md). It goes only
-- where nothing but that is to be done, and is not tried where the last pick met locks.
-- Fewer than asked for: pick_jobs does it all again, for marks are raised only over a batch
-- that was found whole.
create function _procrastinate_pick_next(
    p_worker_id bigint,
    p_queues text[],
    p_limit integer,
    p_marks bigint[],
    p_handed bigint[],
    out o_job_ids bigint[],
    out o_marks bigint[],
    out o_contended boolean,
    out o_more boolean,
    out o_next_due_in double precision
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_at integer := p_limit;
    v_ok boolean;
begin
    if cardinality(p_queues) = 1 and cardinality(p_marks) = 6
        and p_marks[2] > extract(epoch from clock_timestamp()) * 1e6
    then
        if p_handed is null then
            o_job_ids := array(
                select j.id
                from procrastinate_jobs as j
                where
                    j.id = any(array(
                        select t.job_id + 0
                        from procrastinate_todo as t
                        where
                            t.state = 'r'
                            and t.queue_name = p_queues[1]
                            and t.priority = (
                                select s.priority
                                from _procrastinate_straight(
                                    p_queues[1], p_marks, procrastinate_now()
                                ) as s
                            )
                            and t.job_id + 0 >= p_marks[5]
                        order by t.job_id + 0
                        limit p_limit
                    ))
                    and j.status = 'todo'
                    and j.lock is null  -- as it is now: it may have changed since
                    and j.queue_name = p_queues[1]
                    and coalesce(j.scheduled_at <= procrastinate_now(), true)
                    and exists (
                        select
                        from procrastinate_workers as w
                        where w.id = p_worker_id
                        for key share skip locked
                    )
                order by j.id
                for no key update of j skip locked
            );
        else
            o_job_ids := array(
                select j.id
                from procrastinate_jobs as j
                where
                    j.id = any(array(
                        select n.job_id
                        from (
                            (
                                select  -- one that has a lock counts, and is not found
                                    t.job_id + 0 as at,
                                    case when t.lock is null then t.job_id end as job_id
                                from procrastinate_todo as t
                                where
                                    t.state = 'r'
                                    and t.queue_name = p_queues[1]
                                    and t.priority = (
                                        select s.priority
                                        from _procrastinate_straight(
                                            p_queues[1], p_marks, procrastinate_now()
                                        ) as s
                                    )
                                    and t.job_id + 0 >= p_marks[5]
                                order by t.job_id + 0
                                limit p_limit
                            )
                            union all
                            select h.job_id, h.job_id
                            from _procrastinate_handed_heads(
                                p_handed, procrastinate_now()
                            ) as h
                            where
                                h.queue_name = p_queues[1]
                                and h.priority = (
                                    select s.priority
                                    from _procrastinate_straight(
                                        p_queues[1], p_marks, procrastinate_now()
                                    ) as s
                                )
                            order by at
                            limit p_limit
                        ) as n
                    ))
                    and j.status = 'todo'
                    and (j.lock is null or j.id = any(p_handed[3:]))
                    and j.queue_name = p_queues[1]
                    and coalesce(j.scheduled_at <= procrastinate_now(), true)
                    and exists (
                        select
                        from procrastinate_workers as w
                        where w.id = p_worker_id
                        for key share skip locked
                    )
                order by j.id
                for no key update of j skip locked
            );
        end if;
        if cardinality(o_job_ids) = p_limit then
            while o_job_ids[v_at] = any(p_handed[3:]) loop  -- those do not raise the mark
                v_at := v_at - 1;
            end loop;
            o_marks := p_marks;
            if v_at > 0 then
                o_marks[5] := o_job_ids[v_at] + 1;
            end if;
            o_contended := false;
            o_more := false;
            return;
        end if;
    end if;
    v_ok := _procrastinate_require_worker(p_worker_id);
    select p.o_job_ids, p.o_marks, p.o_contended, p.o_more, p.o_next_due_in
    into o_job_ids, o_marks, o_contended, o_more, o_next_due_in
    from _procrastinate_pick_jobs(p_queues, p_limit, p_marks, p_handed) as p;
end;
$$;

comment on function _procrastinate_pick_next(
    bigint, text[], integer, bigint[], bigint[]
) is 'Locks the next jobs of a worker that may run. Raises PQ004 (worker not registered).';
