-- The next jobs of a worker of one queue, locks and all: locks their rows. Null where there
-- is something else to be done, or somebody in the way: pick_jobs then does it all again.
--
-- One statement reads what may be next (the line from the marks on, and the heads of the
-- locks released here, whose keys are in hand), and locks the rows of those that need no
-- other key. Fewer than asked for are an answer if read from the floor on, or if no id was
-- given since it was raised; else they are read from there.
create function _procrastinate_pick_here(
    p_worker_id bigint,
    p_queue text,
    p_limit integer,
    p_marks bigint[],
    p_released procrastinate_doing[],
    p_now timestamptz,
    out o_job_ids bigint[],
    out o_heads bigint[],
    out o_marks bigint[],
    out o_contended boolean,
    out o_more boolean,
    out o_next_due_in double precision
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_begin bigint := case when p_marks[10] > p_marks[4] + 64 then p_marks[10]
        else least(p_marks[10], p_marks[4] + 1) end;  -- hardly any further
    v_ids bigint[];
    v_locks text[];
    v_fresh bigint;
    v_again bigint;
    v_mark bigint;
    v_settled record;
    v_head bigint[] := p_marks[4:8];
    v_due timestamptz;
    v_snapshot pg_snapshot;
begin
    with heads as materialized (
        select h.job_id, h.queue_name, h.priority, h.scheduled_at, h.state, h.whole
        from _procrastinate_heads_of(p_released) as h
    ),
    gate as materialized (
        select g.priority, g.due, g.again from _procrastinate_gate(p_queue, p_marks) as g
    ),
    seen as materialized (
        select s.job_id, s.lock, s.state
        from gate as g
        cross join lateral _procrastinate_line(
            p_queue, g.priority, v_begin, g.again, p_limit, '{}'
        ) as s
        union all
        select h.job_id, null, h.state
        from gate as g
        join heads as h on h.priority = g.priority
        where
            h.state = 'b'
            and h.queue_name = p_queue
            and coalesce(h.scheduled_at <= p_now, true)
        order by job_id
        limit p_limit
    )
    select
        array_agg(s.job_id),
        array_agg(s.lock),
        max(s.job_id) filter (where s.state = 'r'),
        max(s.job_id) filter (where s.state = 'a'),
        (select g.due from gate as g),
        (select g.again from gate as g),
        array(
            select case when h.whole then -1 else h.job_id end
            from heads as h
            where h.whole or h.job_id is not null
        ),
        array(
            select j.id
            from procrastinate_jobs as j
            where
                j.id = any(array(select x.job_id from seen as x where x.lock is null))
                and j.status = 'todo'  -- as it is now: it may have changed since
                and (j.lock is null or j.id = any(array(select h.job_id from heads as h)))
                and j.queue_name = p_queue
                and coalesce(j.scheduled_at <= p_now, true)
                and exists (
                    select
                    from procrastinate_workers as w
                    where w.id = p_worker_id
                    for key share skip locked
                )
            for no key update of j skip locked
        ),
        pg_current_snapshot()
    into v_ids, v_locks, v_fresh, v_again, v_due, v_mark, o_heads, o_job_ids, v_snapshot
    from seen as s;
    if v_mark is null or v_due <= p_now or -1 = any(o_heads) then
        o_job_ids := null;
        return;
    end if;
    if array_remove(v_locks, null) <> '{}' then
        o_job_ids := o_job_ids || _procrastinate_pick_locked(
            p_worker_id, p_queue, v_ids, v_locks, o_job_ids, p_now
        );
    end if;
    if cardinality(o_job_ids) < cardinality(v_ids) then
        o_job_ids := null;
        return;
    end if;
    o_contended := false;
    o_more := false;
    if cardinality(o_job_ids) < p_limit then
        if v_begin > p_marks[4] + 1
            and p_marks[4] < pg_sequence_last_value('procrastinate_jobs_id_seq')
        then
            select p.o_job_ids, p.o_heads, p.o_marks, p.o_next_due_in
            into o_job_ids, o_heads, o_marks, o_next_due_in
            from _procrastinate_pick_here(p_worker_id, p_queue, p_limit,
                p_marks[:9] || (p_marks[4] + 1) || p_marks[11:], p_released, p_now) as p;
            if cardinality(o_job_ids) < p_limit then  -- all was read
                o_marks[10] := greatest(o_marks[10], p_marks[10]);
            end if;
            return;
        end if;
        v_settled := _procrastinate_settle(p_marks, v_snapshot, false);
        if v_settled.o_look_in <= 0 then
            o_job_ids := null;
            return;
        end if;
        v_head := v_settled.o_head;
        v_begin := greatest(p_marks[10], v_head[1] + 1);  -- all up to there was read
        o_next_due_in := least(
            extract(epoch from nullif(v_due, 'infinity') - p_now), v_settled.o_look_in
        );
    end if;
    o_marks := p_marks[:9] || array[
        greatest(v_begin, v_fresh + 1), greatest(v_mark, v_again + 1)
    ];
    o_marks[1] := pg_snapshot_xmin(v_snapshot)::text::bigint;
    o_marks[4:8] := v_head;
    if array_remove(v_locks, null) <> '{}' then
        o_marks := o_marks || 0::bigint;
    end if;
    o_heads := case
        when o_heads <> '{}' then array[o_marks[1], p_released[1].claim_id] || o_heads
    end;
end;
$$;

comment on function _procrastinate_pick_here(
    bigint, text, integer, bigint[], procrastinate_doing[], timestamptz
) is 'Locks the next jobs of one queue, where its marks say all there is to know.';
