-- Locks at most p_limit jobs of these queues that may run, highest priority first, then
-- lowest id, for finish_and_fetch. Never waits for another transaction: what somebody holds
-- is skipped and told.
--
-- p_marks is what the last claim of this worker returned: for each pair of queue and
-- priority the ids from which its ready rows are read, so that the dead rows of earlier
-- claims are not read again. A mark may hide nothing: rows that became ready again are
-- found by their arrival, ids that committed late by a scan from the start: when a claim
-- finds too few, and every so often (docs/decisions/0003-low-water-marks.md). Layout:
-- oldest transaction not seen, time of the next full scan (microseconds), last job id at
-- the last full scan (-2: pick_here found too few, and begins at the start), then triples
-- of pair, mark of fresh rows, mark of rows ready again, in the order of the walk. One more
-- at the end says that there were jobs with locks.
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
    v_last_id bigint := -1;
    v_full boolean;
    v_next_full bigint := coalesce(p_marks[2], 0);
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
    end if;
    v_look := _procrastinate_look(v_queues, p_marks[1]::text::xid8);
    if v_look.o_due then
        o_more := _procrastinate_wake_due(v_queues);
    end if;

    for i in 1 .. cardinality(v_pairs) loop
        if p_marks[i * 3 + 1] = v_pairs[i] then
            v_fresh := v_fresh || p_marks[i * 3 + 2];
            v_again := v_again || p_marks[i * 3 + 3];
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

    v_full := p_marks is null or v_next_full <= extract(epoch from v_begun) * 1e6;
    loop
        if v_full then
            v_fresh := array_fill(v_start, array[cardinality(v_pairs)]);
            if _procrastinate_sees_all(v_snapshot) then
                v_last_id := (select s.last_value from procrastinate_jobs_id_seq as s);
            end if;
        end if;
        v_walk := _procrastinate_walk(
            v_queues, v_priorities, v_fresh, v_again, o_job_ids, p_limit, p_handed
        );
        o_job_ids := v_walk.p_job_ids;
        v_fresh := v_walk.p_fresh;
        v_again := v_walk.p_again;
        o_contended := v_walk.o_contended;
        o_more := o_more or v_walk.o_more;

        exit when v_full or cardinality(o_job_ids) >= p_limit or v_walk.o_more;
        -- too few: an id below its mark may have committed late. Where no id was given
        -- since the last full scan, which met no writer, only a hand-made id could be
        -- there: claimed something, so come back at once, and look from the start when
        -- nothing is found
        if cardinality(o_job_ids) > 0
            and p_marks[3] = (select s.last_value from procrastinate_jobs_id_seq as s)
        then
            o_more := true;
            exit;
        end if;
        v_full := true;
        v_begun := clock_timestamp();
    end loop;

    if v_full then  -- the next one when this one has cost a twentieth of the time till then
        v_next_full := extract(epoch from clock_timestamp() + greatest(
            (clock_timestamp() - v_begun) * 20, interval '100 milliseconds'
        )) * 1e6;
        if cardinality(o_job_ids) >= p_limit or v_walk.o_more then
            v_last_id := -1;
        end if;
    else
        v_last_id := p_marks[3];
    end if;
    o_marks := array[v_xmin, v_next_full, v_last_id];
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
    end if;
end;
$$;

comment on function _procrastinate_pick_jobs(text[], integer, bigint[], bigint[]) is
'Locks the first jobs of these queues that may run. Skips what others hold.';
