-- todo -> doing for at most p_limit jobs of these queues, highest priority first, then lowest
-- id. Never waits for another transaction: what somebody holds is skipped and told.
--
-- p_marks is what the last claim of this worker returned: for each pair of queue and priority
-- the ids from which its ready rows are read, so that the dead rows of earlier claims are not
-- read again. A mark may hide nothing: rows that became ready again are found by their arrival,
-- ids that committed late by a scan from the start: when a claim finds too few, and every so
-- often (docs/decisions/0003-low-water-marks.md). Layout: oldest transaction not seen, time of
-- the next full scan (microseconds), last job id at the last full scan, then triples of pair,
-- mark of fresh rows, mark of rows ready again.
create function _procrastinate_claim_jobs(
    p_worker_id bigint,
    p_queues text[],
    p_limit integer,
    p_marks bigint[],
    out o_job_ids bigint[],
    out o_marks bigint[],
    out o_contended boolean,
    out o_more boolean
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_budget integer := current_setting('max_locks_per_transaction')::integer / 2;
    v_begun timestamptz := clock_timestamp();
    v_xmin bigint;
    v_last_id bigint;
    v_full boolean;
    v_pairs bigint[];
    v_queues text[];
    v_priorities integer[];
    v_fresh bigint[];
    v_again bigint[];
    v_next_full bigint := coalesce(p_marks[2], 0);
    v_scan record;
begin
    o_job_ids := '{}';
    o_contended := false;
    o_more := _procrastinate_wake_due(p_queues) >= 1000;

    -- before the scans: what this snapshot does not show arrives later
    v_xmin := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    v_last_id := case
        when not exists (select from pg_snapshot_xip(pg_current_snapshot()))
            then (select s.last_value from procrastinate_jobs_id_seq as s)
        else -1
    end;

    select m.pairs, m.queues, m.priorities, m.fresh, m.again
    into v_pairs, v_queues, v_priorities, v_fresh, v_again
    from _procrastinate_read_marks(p_queues, p_marks) as m;

    if v_pairs is null then
        o_marks := array[v_xmin, 0, -1];
        return;
    end if;

    v_full := p_marks is null or v_next_full <= extract(epoch from v_begun) * 1e6;
    loop
        if v_full then
            v_fresh := array_fill(0::bigint, array[cardinality(v_pairs)]);
        end if;
        select * into v_scan
        from _procrastinate_scan_jobs(
            p_worker_id, v_queues, v_priorities, v_fresh, v_again,
            p_limit - cardinality(o_job_ids), v_budget
        );
        o_job_ids := o_job_ids || v_scan.o_job_ids;
        v_fresh := v_scan.p_fresh;
        v_again := v_scan.p_again;
        v_budget := v_scan.p_budget;
        o_contended := v_scan.o_contended;
        o_more := o_more or v_scan.o_more;

        exit when v_full or cardinality(o_job_ids) >= p_limit;
        -- too few: an id below its mark may have committed late. Where no id was given since
        -- the last full scan, which met no writer, only a hand-made id could be there: claimed
        -- something, so come back at once, and look from the start when nothing is found
        if v_last_id = p_marks[3] and cardinality(o_job_ids) > 0 then
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
    end if;
    o_marks := array[
        v_xmin,
        v_next_full,
        case
            when v_full and cardinality(o_job_ids) < p_limit then v_last_id
            else coalesce(p_marks[3], -1)
        end
    ] || array(
        select u.value
        from unnest(v_pairs, v_fresh, v_again) with ordinality as m (pair, fresh, again, nr)
        cross join lateral (values (1, m.pair), (2, m.fresh), (3, m.again)) as u (part, value)
        order by m.nr, u.part
    );
    o_contended := o_contended and cardinality(o_job_ids) < p_limit;
    o_more := o_more and cardinality(o_job_ids) < p_limit;
end;
$$;

comment on function _procrastinate_claim_jobs(bigint, text[], integer, bigint[]) is
'todo -> doing for the first jobs of these queues that may run. Skips what others hold.';
