-- One walk over the pairs of queue and priority from the highest priority down, claiming what
-- may run. Raises the marks over what it has claimed or parked, never over what it skipped.
create function _procrastinate_scan_jobs(
    p_worker_id bigint,
    p_queues text[],
    p_priorities integer[],
    inout p_fresh bigint[],
    inout p_again bigint[],
    p_limit integer,
    inout p_budget integer,
    out o_job_ids bigint[],
    out o_contended boolean,
    out o_more boolean
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_wide constant boolean := array_position(p_priorities, null) is not null;
    v_rounds integer := 0;
    v_want integer := p_limit;
    v_take integer;
    v_level record;
    v_seen record;
    v_heads record;
    v_try bigint[];
    v_got bigint[];
    v_pass bigint[] := '{}';  -- met and left where they are: held by others, or over the budget
    v_mark record;
begin
    o_job_ids := '{}';
    o_contended := false;
    o_more := false;
    for v_level in
        select
            case when not v_wide then p.priority end as priority,
            array_agg(p.nr order by p.nr) as pairs,
            case when v_wide
                then array(select distinct q.q from unnest(p_queues) as q (q))
                else array_agg(p.queue_name order by p.nr)
            end as queues
        from unnest(p_queues, p_priorities) with ordinality as p (queue_name, priority, nr)
        group by 1
        order by 1 desc
    loop
        v_take := v_want;
        loop
            if v_rounds >= 20 then
                o_more := true;
                return;
            end if;
            v_rounds := v_rounds + 1;
            if v_wide then
                select * into v_seen
                from _procrastinate_see_wide(v_level.queues, v_take, v_pass);
            else
                select * into v_seen
                from _procrastinate_see_level(
                    v_level.queues, v_level.pairs, v_level.priority,
                    p_fresh[v_level.pairs[1]:], p_again[v_level.pairs[1]:], v_take, v_pass
                );
            end if;
            exit when v_seen.o_seen = 0;

            v_try := v_seen.o_free;
            if v_seen.o_locked is not null then
                select * into v_heads
                from _procrastinate_take_heads(v_seen.o_locked, v_seen.o_locks, p_budget);
                p_budget := v_heads.p_budget;
                v_try := v_try || v_heads.o_heads;
                o_more := o_more or v_heads.o_over is not null;
                o_contended := o_contended or v_heads.o_busy is not null;
                v_pass := v_pass || v_heads.o_over || v_heads.o_busy;
            end if;

            with mine as (
                update procrastinate_jobs as j
                set status = 'doing', worker_id = p_worker_id
                where
                    j.id = any(array(
                        select x.id
                        from procrastinate_jobs as x
                        where x.id = any(v_try) and x.status = 'todo'
                        for no key update skip locked
                    ))
                returning j.id
            )
            select array_agg(m.id) into v_got from mine as m;

            o_job_ids := o_job_ids || v_got;
            v_want := v_want - coalesce(cardinality(v_got), 0);
            if cardinality(v_try) > coalesce(cardinality(v_got), 0) then
                o_contended := true;
                v_pass := v_pass || array(
                    select t.id
                    from unnest(v_try) as t (id)
                    where t.id <> all(coalesce(v_got, '{}'))
                );
            end if;
            for v_mark in
                select
                    s.pair,
                    max(s.job_id) filter (where s.state = 'r') as fresh,
                    max(s.job_id) filter (where s.state = 'a') as again,
                    min(s.job_id) filter (where s.state = 'r' and s.job_id = any(v_pass))
                    as fresh_left,
                    min(s.job_id) filter (where s.state = 'a' and s.job_id = any(v_pass))
                    as again_left
                from unnest(v_seen.o_ids, v_seen.o_pairs, v_seen.o_states)
                    as s (job_id, pair, state)
                where not v_wide
                group by s.pair
            loop
                p_fresh[v_mark.pair] := least(
                    greatest(p_fresh[v_mark.pair], v_mark.fresh + 1), v_mark.fresh_left
                );
                p_again[v_mark.pair] := least(
                    greatest(p_again[v_mark.pair], v_mark.again + 1), v_mark.again_left
                );
            end loop;
            if v_want <= 0 then
                return;
            end if;
            exit when v_seen.o_seen < v_take;
            -- all met were parked or left: look further at once, up to some thousands a call
            v_take := least(greatest(v_take * 4, v_want), 4000);
        end loop;
    end loop;
end;
$$;

comment on function _procrastinate_scan_jobs(
    bigint, text[], integer[], bigint[], bigint[], integer, integer
) is
'todo -> doing along these pairs of queue and priority; returns the marks raised.';
