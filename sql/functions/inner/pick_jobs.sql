-- Locks at most p_limit jobs of these queues that may run, highest priority first, then
-- lowest id, for finish_and_fetch. Never waits for another transaction: what somebody holds
-- is skipped and told.
--
-- p_marks is what the last claim of this worker returned: for each pair of queue and
-- priority the ids from which its ready rows are read, so that the dead rows of earlier
-- claims are not read again. A mark may hide nothing: rows that became ready again are
-- found by their arrival, ids that committed late by a look behind the marks when a claim
-- finds too few: from the floor on, below which ids are settled, or every so often from the
-- start (docs/decisions/0003-low-water-marks.md, 0140-a-floor-under-the-marks.md). Layout:
-- oldest transaction not seen, time of the next full scan, time before which there is none
-- (microseconds both), the five of _procrastinate_settle, then triples of pair, mark of
-- fresh rows, mark of rows ready again, in the order of the walk. One more at the end says
-- that there were jobs with locks.
create function _procrastinate_pick_jobs(
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
    v_start constant bigint := '-9223372036854775808'::bigint;
    v_begun timestamptz := clock_timestamp();
    v_snapshot pg_snapshot;
    v_xmin bigint;
    v_full boolean;
    v_next_full bigint := coalesce(p_marks[2], 0);
    v_allowed bigint := p_marks[3];
    v_settled record;
    v_passed bigint[];
    v_from bigint;
    v_pairs bigint[];
    v_queues text[];
    v_priorities integer[];
    v_fresh bigint[] := '{}'::bigint[];
    v_again bigint[] := '{}'::bigint[];
    v_look record;
    v_walk record;
begin
    o_job_ids := '{}';
    o_contended := false;
    o_more := false;
    v_look := _procrastinate_read_pairs(p_queues);
    v_pairs := v_look.o_pairs;
    v_queues := v_look.o_queues;
    v_priorities := v_look.o_priorities;
    if v_pairs is null then
        o_next_due_in := _procrastinate_next_due_in(p_queues, '{}');
        return;
    end if;

    -- before all reading: what this snapshot does not show arrives later
    v_snapshot := pg_current_snapshot();
    v_xmin := pg_snapshot_xmin(v_snapshot)::text::bigint;
    if p_marks[1] > v_xmin then  -- of another server, before a restore
        p_marks := null;
        v_next_full := 0;
    end if;
    v_look := _procrastinate_look(v_queues, p_marks[1]::text::xid8);
    if v_look.o_due then
        o_more := _procrastinate_wake_due(v_queues);
    end if;

    for i in 1 .. cardinality(v_pairs) loop
        if p_marks[i * 3 + 6] = v_pairs[i] then
            v_fresh := v_fresh || p_marks[i * 3 + 7];
            v_again := v_again || p_marks[i * 3 + 8];
        else
            v_fresh := v_fresh || v_start;
            v_again := v_again || v_start;
        end if;
    end loop;
    if p_marks is not null and (v_look.o_arrived or v_look.o_due) then
        v_again := _procrastinate_note_arrivals(
            p_marks[1]::text::xid8, v_queues, v_priorities, v_again
        );
    end if;

    v_full := v_next_full <= extract(epoch from v_begun) * 1e6;
    v_settled := _procrastinate_settle(p_marks, v_snapshot, v_full);
    loop
        if v_full or v_passed is not null then
            v_from := case when v_full then v_start else p_marks[4] + 1 end;
            v_passed := array(select greatest(f.id, v_settled.o_head[1] + 1)
                from unnest(v_fresh) as f (id));
            v_fresh := array(select least(f.id, v_from) from unnest(v_fresh) as f (id));
        end if;
        v_walk := _procrastinate_walk(
            v_queues, v_priorities, v_fresh, v_passed, v_again, o_job_ids, p_limit, p_handed
        );
        o_job_ids := v_walk.p_job_ids;
        v_fresh := v_walk.p_fresh;
        v_again := v_walk.p_again;
        o_contended := v_walk.o_contended;
        o_more := o_more or v_walk.o_more;

        exit when v_passed is not null or v_walk.o_more;
        exit when cardinality(o_job_ids) >= p_limit;
        -- too few: an id below its mark may have committed late
        v_begun := clock_timestamp();
        v_full := v_settled.o_look_in <= 0;
        exit when not v_full
            and p_marks[4] = pg_sequence_last_value('procrastinate_jobs_id_seq');
        v_passed := '{}';
        if v_full then
            v_settled := _procrastinate_settle(p_marks, v_snapshot, true);
        end if;
    end loop;
    if v_full then  -- not again before this one has cost a twentieth of the time
        v_allowed := extract(epoch from clock_timestamp()
            + (clock_timestamp() - v_begun - interval '1 millisecond') * 20) * 1e6;
        v_next_full := greatest(
            v_allowed, extract(epoch from clock_timestamp()) * 1e6 + 1e5
        );
    end if;
    v_settled.o_head := case
        when cardinality(o_job_ids) < p_limit and not v_walk.o_more then v_settled.o_head
        else coalesce(p_marks[4:8], array[v_start, -1, 0, 0, 0])
    end;
    o_marks := array[v_xmin, v_next_full, v_allowed] || v_settled.o_head;
    for i in 1 .. cardinality(v_pairs) loop
        o_marks := o_marks || v_pairs[i];  -- apart: only so is it appended in place
        o_marks := o_marks || v_fresh[i];
        o_marks := o_marks || v_again[i];
    end loop;
    if v_walk.o_locks then
        o_marks := o_marks || 0::bigint;
    end if;
    if cardinality(o_job_ids) >= p_limit then
        o_contended := false;
        o_more := false;
    else
        o_next_due_in := _procrastinate_next_due_in(p_queues, v_queues);
        if not v_full then
            o_next_due_in := least(o_next_due_in, greatest(v_settled.o_look_in, 0.001));
        end if;
    end if;
end;
$$;

comment on function _procrastinate_pick_jobs(text[], integer, bigint[], bigint[]) is
'Locks the first jobs of these queues that may run. Skips what others hold.';
