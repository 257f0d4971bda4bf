-- One walk over the pairs of queue and priority from the highest priority down. Locks the
-- rows of the jobs that may run, for finish_and_fetch. Raises the marks over what it has
-- locked or parked (and to p_passed where all was seen), never over what it skipped.
create function _procrastinate_walk(
    p_queues text[],
    p_priorities integer[],
    inout p_fresh bigint[],
    p_passed bigint[],
    inout p_again bigint[],
    inout p_job_ids bigint[],
    p_limit integer,
    p_handed bigint[],
    out o_contended boolean, out o_more boolean, out o_locks boolean
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_wide constant boolean := array_position(p_priorities, null) is not null;
    v_count constant integer := cardinality(p_queues);
    v_budget integer := current_setting('max_locks_per_transaction')::integer / 2;
    v_rounds integer := 0;
    v_want integer := p_limit - cardinality(p_job_ids);
    v_take integer;
    v_from integer;
    v_to integer := 0;
    v_read integer := 0;  -- pairs of which all was seen
    v_seen record;
    v_heads record;
    v_left record;
    v_try bigint[];
    v_known bigint[] := p_handed[3:];  -- heads of locks whose keys are in hand
    v_before constant bigint[] := p_job_ids;
    v_got bigint[];
    v_pass bigint[] := '{}'::bigint[];  -- left where they are: others', or over the budget
begin
    o_contended := false;
    o_more := false;
    o_locks := false;
    if p_handed is not null and v_before <> '{}' then
        p_handed := p_handed[:2] || _procrastinate_without(p_handed[3:], v_before);
    end if;
    while v_to < v_count loop
        v_from := v_to + 1;
        v_to := case when v_wide then v_count else v_from end;
        while v_to < v_count and p_priorities[v_to + 1] = p_priorities[v_from] loop
            v_to := v_to + 1;
        end loop;
        v_take := v_want;
        loop
            v_rounds := v_rounds + 1;
            if v_wide then
                v_seen := _procrastinate_see_wide(
                    p_queues, v_take, v_pass || p_job_ids, p_handed
                );
            elsif v_from = v_to then
                v_seen := _procrastinate_see_queue(
                    p_queues[v_from], p_priorities[v_from], p_fresh[v_from],
                    p_again[v_from], v_take, v_before, p_handed
                );
            else
                v_seen := _procrastinate_see_queues(
                    p_queues[v_from:v_to], p_priorities[v_from], p_fresh[v_from:v_to],
                    p_again[v_from:v_to], v_take, v_before, p_handed
                );
            end if;
            exit when v_seen.o_seen = 0;
            if p_handed is not null then  -- no mark is raised over them
                p_handed := p_handed[:2]
                    || _procrastinate_without(p_handed[3:], v_seen.o_free);
            end if;
            v_try := v_seen.o_free;
            if v_seen.o_locked is not null then
                o_locks := true;
                v_heads := _procrastinate_take_heads(
                    v_seen.o_locked, v_seen.o_locks, p_job_ids, v_budget
                );
                v_budget := v_heads.p_budget;
                v_try := v_try || v_heads.o_heads;
                v_known := v_known || v_heads.o_heads;
                o_contended := o_contended or v_heads.o_busy is not null;
                v_pass := v_pass || v_heads.o_over || v_heads.o_busy;
            end if;
            if cardinality(v_try) > v_want then  -- having looked further than there is room
                v_got := _procrastinate_first_of(v_try, v_want);
                v_pass := v_pass || _procrastinate_without(v_try, v_got);
                v_try := v_got;
            end if;
            if cardinality(v_try) > 0 then
                v_got := array(
                    select x.id
                    from procrastinate_jobs as x
                    where  -- as it is now: it may have changed since it was seen
                        x.id = any(v_try) and x.status = 'todo'
                        and x.queue_name = any(p_queues)
                        and coalesce(x.scheduled_at <= procrastinate_now(), true)
                        and (x.lock is null or x.id = any(v_known))
                    for no key update skip locked
                );
                p_job_ids := p_job_ids || v_got;
                v_want := v_want - cardinality(v_got);
                if cardinality(v_try) > cardinality(v_got) then
                    o_contended := true;
                    v_pass := v_pass || _procrastinate_without(v_try, v_got);
                end if;
            end if;
            if not v_wide then
                for i in v_from .. v_to loop
                    p_fresh[i] := greatest(p_fresh[i], v_seen.o_fresh[i - v_from + 1] + 1);
                    p_again[i] := greatest(p_again[i], v_seen.o_again[i - v_from + 1] + 1);
                end loop;
            end if;
            exit when v_want <= 0;
            o_more := v_budget <= 0 or v_rounds >= 20;
            exit when o_more or v_seen.o_seen < v_take;
            -- all met were parked or left: look further, up to some thousands a call
            v_take := least(greatest(v_take * 4, v_want), 4000);
        end loop;
        exit when v_want <= 0 or o_more;
        v_read := v_to;
    end loop;
    for i in 1 .. least(v_read, coalesce(cardinality(p_passed), 0)) loop
        p_fresh[i] := greatest(p_fresh[i], p_passed[i]);
    end loop;
    if cardinality(v_pass) > 0 then
        for v_left in
            select
                t.queue_name, t.priority,
                min(t.job_id) filter (where t.state = 'r') as fresh,
                min(t.job_id) filter (where t.state = 'a') as again
            from procrastinate_todo as t
            where t.job_id = any(v_pass)
            group by t.queue_name, t.priority
        loop
            v_from := array_position(p_queues, v_left.queue_name::text);
            while v_from is not null loop
                if p_priorities[v_from] = v_left.priority then
                    p_fresh[v_from] := least(p_fresh[v_from], v_left.fresh);
                    p_again[v_from] := least(p_again[v_from], v_left.again);
                end if;
                v_from := array_position(p_queues, v_left.queue_name::text, v_from + 1);
            end loop;
        end loop;
    end if;
end;
$$;

comment on function _procrastinate_walk(
    text[], integer[], bigint[], bigint[], bigint[], bigint[], integer, bigint[]
) is 'Locks what may run along these pairs of queue and priority; raises the marks.';
