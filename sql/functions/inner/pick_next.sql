-- The next jobs of a worker: locks the rows of at most p_limit, for finish_and_fetch.
--
-- Most fetches are of a worker of one queue, or of all where only one was ever used, with
-- marks that say where its last claim ended. They have two ways of few statements, which go
-- only where nothing else is to be done: the straight way here finds as many jobs as it has
-- slots, none with a lock, in one statement; the other (pick_here) takes locks in its
-- stride, and may find fewer. All else takes the general way (pick_jobs), from the start
-- (docs/decisions/0003-low-water-marks.md).
create function _procrastinate_pick_next(
    p_worker_id bigint,
    p_queues text[],
    p_limit integer,
    p_marks bigint[],
    p_released procrastinate_doing[],
    p_now timestamptz,
    out o_job_ids bigint[],
    out o_heads bigint[],  -- next heads of the locks released, as next_heads has them
    out o_marks bigint[],
    out o_contended boolean,
    out o_more boolean,
    out o_next_due_in double precision
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_start constant bigint := '-9223372036854775808'::bigint;
    v_queue text := p_queues[1];
    v_line bigint[];
    v_at integer := 1;
    v_from bigint := p_marks[10];
    v_take integer := p_limit * 2 + 8;
    v_mark bigint;
    v_ok boolean;
begin
    if p_limit = 0 then
        o_job_ids := '{}';
        o_marks := p_marks;
        o_contended := false;
        o_more := false;
        if p_released is not null then
            v_ok := _procrastinate_promote(p_released, '{}');
        end if;
        return;
    end if;
    if current_setting('transaction_isolation') <> 'read committed' then
        v_ok := _procrastinate_refuse_old_snapshot('Fetching jobs');
    end if;
    if coalesce(cardinality(p_queues), 1) = 1
        and cardinality(p_marks) in (11, 12)
        and to_timestamp(p_marks[2] / 1e6::double precision) > clock_timestamp()
    then
        if p_queues is null then
            select min(p.queue_name) into v_queue
            from procrastinate_priorities as p
            having count(*) = 1;
        end if;
        if v_queue is null then
            null;  -- of all, and there are several
        elsif p_released is null and cardinality(p_marks) = 11
            and p_marks[11] = v_start
        then
            o_job_ids := '{}';
            for v_round in 1..4 loop  -- each looks further: others have taken the first
                with line as materialized (
                    select array(
                        select case when t.lock is null then t.job_id + 0 end
                        from procrastinate_todo as t
                        where
                            t.state = 'r'
                            and t.queue_name = v_queue
                            and t.priority = (
                                select s.priority
                                from _procrastinate_straight(v_queue, p_marks) as s
                            )
                            and t.job_id + 0 >= v_from
                        order by t.job_id + 0
                        limit v_take
                    ) as ids
                )
                select
                    l.ids,
                    o_job_ids || array(
                        select j.id
                        from procrastinate_jobs as j
                        where
                            j.id = any(l.ids)
                            and j.status = 'todo'
                            and j.lock is null  -- as it is now: it may have changed since
                            and j.queue_name = v_queue
                            and coalesce(j.scheduled_at <= p_now, true)
                            and exists (
                                select
                                from procrastinate_workers as w
                                where w.id = p_worker_id
                                for key share skip locked
                            )
                        order by j.id
                        limit p_limit - cardinality(o_job_ids)
                        for no key update of j skip locked
                    )
                into v_line, o_job_ids
                from line as l;
                exit when array_position(v_line[:p_limit], null) is not null;
                if v_mark is null then
                    while o_job_ids[v_at] = v_line[v_at] loop
                        v_at := v_at + 1;  -- the mark stays below what was passed
                    end loop;
                    v_mark := coalesce(v_line[v_at], v_line[v_at - 1] + 1);
                end if;
                if cardinality(o_job_ids) = p_limit then
                    o_marks := p_marks[:9] || v_mark || v_start;
                    o_contended := false;
                    o_more := false;
                    return;
                end if;
                exit when cardinality(v_line) < v_take;
                v_from := v_line[v_take] + 1;
                v_take := v_take * 2;
            end loop;
        else
            select
                p.o_job_ids, p.o_heads, p.o_marks, p.o_contended, p.o_more, p.o_next_due_in
            into o_job_ids, o_heads, o_marks, o_contended, o_more, o_next_due_in
            from _procrastinate_pick_here(
                p_worker_id, v_queue, p_limit, p_marks, p_released, p_now
            ) as p;
            if o_job_ids is not null then
                return;
            end if;
        end if;
    end if;
    v_ok := _procrastinate_require_worker(p_worker_id);
    if p_released is not null then
        o_heads := _procrastinate_next_heads(p_released, '{}');
    end if;
    select p.o_job_ids, p.o_marks, p.o_contended, p.o_more, p.o_next_due_in
    into o_job_ids, o_marks, o_contended, o_more, o_next_due_in
    from _procrastinate_pick_jobs(p_queues, p_limit, p_marks, o_heads) as p;
end;
$$;

comment on function _procrastinate_pick_next(
    bigint, text[], integer, bigint[], procrastinate_doing[], timestamptz
) is 'Locks the next jobs of a worker that may run. Raises PQ004 (worker not registered).';
