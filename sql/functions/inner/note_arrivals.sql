-- Rows that became ready again below the marks, since the oldest transaction that the last
-- fetch did not see, lower the marks.
create function _procrastinate_note_arrivals(
    p_since xid8, p_queues text[], p_priorities integer[], p_again bigint[]
)
returns bigint[]
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    -- more than this: reading all from the start is cheaper
    v_many constant integer := 200;
    v_seen integer := 0;
    v_row record;
begin
    for v_row in
        select t.queue_name, t.priority, t.job_id
        from procrastinate_todo as t
        where t.state = 'a' and t.since >= p_since
        order by t.since
        limit v_many
    loop
        v_seen := v_seen + 1;
        if v_seen >= v_many or cardinality(p_queues) > v_many then
            return array_fill(
                '-9223372036854775808'::bigint, array[cardinality(p_queues)]
            );
        end if;
        for i in 1 .. cardinality(p_queues) loop
            if p_again[i] > v_row.job_id
                and p_queues[i] = v_row.queue_name
                and p_priorities[i] = v_row.priority
            then
                p_again[i] := v_row.job_id;
            end if;
        end loop;
    end loop;
    return p_again;
end;
$$;

comment on function _procrastinate_note_arrivals(xid8, text[], integer[], bigint[]) is
'The marks of rows ready again, lowered to those that became so since.';
