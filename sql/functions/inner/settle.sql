-- How far ids are settled for this worker: which ones can no longer come late. A part of
-- the marks, to be kept if the fetch reads all from the floor on, or from the start
-- (docs/decisions/0140-a-floor-under-the-marks.md).
--
-- An id is given before its row can be seen. One that was given when the sequence stood at
-- C belongs to a transaction that had a number then, thus one below B, where B is the
-- number of a transaction of ours that began later. Once none below B is under way, all up
-- to C are there or never will be: a fetch whose snapshot shows that, and that reads all,
-- raises the floor to C. Transactions that go on for long (below Y, N of them) do not
-- count, else the floor would stay where it is as long as one of them does: when one ends,
-- only a scan from the start finds what it wrote, and is due as soon as one is allowed.
create function _procrastinate_settle(
    p_marks bigint[],
    p_snapshot pg_snapshot,  -- taken before the fetch read anything
    p_whole boolean,  -- from the start
    -- floor, C (-1: none), B (0 less the number of ours at that time: not known yet), Y, N
    out o_head bigint[],
    out o_look_in double precision  -- seconds until a scan from the start is due
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_own constant bigint := coalesce(pg_current_xact_id_if_assigned()::text::bigint, 0);
    v_floor bigint := coalesce(p_marks[4], '-9223372036854775808'::bigint);
    v_given bigint := nullif(p_marks[5], -1);
    v_bound bigint := coalesce(p_marks[6], 0);
    v_old bigint := coalesce(p_marks[7], 0);
    v_count bigint := coalesce(p_marks[8], 0);
    v_open bigint;
    v_still bigint;
begin
    if v_bound <= 0 and v_bound > -v_own then
        v_bound := v_own;
    end if;
    select
        count(*) filter (where x.xid::text::bigint < v_old),
        count(*) filter (where x.xid::text::bigint between v_old and v_bound - 1)
    into v_still, v_open
    from pg_snapshot_xip(p_snapshot) as x (xid);
    if p_whole then
        v_count := v_still;
    else
        o_look_in := p_marks[case when v_still = v_count then 2 else 3 end] / 1e6
            - extract(epoch from clock_timestamp());
    end if;
    if v_given is not null
        and v_bound > 0
        and v_bound <= pg_snapshot_xmax(p_snapshot)::text::bigint  -- else not listed
        and (v_open = 0 or p_whole)
    then
        if v_open > 0 then
            v_old := v_bound;
            v_count := v_still + v_open;
        end if;
        v_floor := v_given;
        v_given := null;
    end if;
    if v_given is null then
        v_given := coalesce(pg_sequence_last_value('procrastinate_jobs_id_seq'), 0);
        v_bound := -v_own;
    end if;
    o_head := array[v_floor, v_given, v_bound, v_old, v_count];
end;
$$;

comment on function _procrastinate_settle(bigint[], pg_snapshot, boolean) is
'Up to which id none can come late, for the marks of a fetch that reads all.';
