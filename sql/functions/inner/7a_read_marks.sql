-- delayed -> ready again for what fell due in these queues, a bounded number.
create function _procrastinate_wake_due(p_queues text[])
returns bigint
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_now constant timestamptz := procrastinate_now();
    v_count bigint;
begin
    update procrastinate_todo as t
    set state = 'a', since = pg_current_xact_id()
    where
        t.state = 'd'
        and t.job_id = any(array(
            select d.job_id
            from _procrastinate_queues_of(p_queues) as q (queue_name)
            cross join lateral (
                select x.job_id
                from procrastinate_todo as x
                where
                    x.state = 'd'
                    and x.queue_name = q.queue_name
                    and x.scheduled_at <= v_now
                order by x.scheduled_at
                limit 1000
                for no key update skip locked
            ) as d
        ));
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

comment on function _procrastinate_wake_due(text[]) is
'Makes ready what fell due in these queues, at most 1000 a queue.';

-- The queues named, or all that were ever deferred to.
create function _procrastinate_queues_of(p_queues text[])
returns setof text
language sql stable parallel safe
begin atomic
    select q.queue_name
    from unnest(p_queues) as q (queue_name)
    union
    select p.queue_name
    from procrastinate_priorities as p
    where p_queues is null;
end;

comment on function _procrastinate_queues_of(text[]) is
'These queues, or for null all queues known, each once.';

-- The pairs of queue and priority to look at, highest priority first, each with its marks.
-- A row that became ready again below its mark, found by its arrival, lowers the mark.
create function _procrastinate_read_marks(
    p_queues text[],
    p_marks bigint[],
    out pairs bigint[],
    out queues text[],
    out priorities integer[],
    out fresh bigint[],
    out again bigint[]
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_many constant integer := 200;  -- more arrivals than this: read all from the start
begin
    with pair as (
        select min(p.id) as id, p.queue_name, p.priority
        from _procrastinate_queues_of(p_queues) as q (queue_name)
        join procrastinate_priorities as p on p.queue_name = q.queue_name
        where
            not exists (
                select
                from procrastinate_queues as s
                where
                    s.queue_name = q.queue_name
                    and s.paused_at is not null
                    and coalesce(s.paused_until, 'infinity') > procrastinate_now()
            )
        group by p.queue_name, p.priority
    ),
    mark as (
        select p_marks[i.i] as id, p_marks[i.i + 1] as fresh, p_marks[i.i + 2] as again
        from generate_series(4, cardinality(p_marks), 3) as i (i)
    ),
    arrival as (
        select a.queue_name, a.priority, min(a.job_id) as job_id, sum(count(*)) over () as seen
        from (
            select t.queue_name, t.priority, t.job_id
            from procrastinate_todo as t
            where t.state = 'a' and t.since >= p_marks[1]::text::xid8
            order by t.since
            limit v_many
        ) as a
        group by a.queue_name, a.priority
    )
    select
        array_agg(p.id order by p.priority desc, p.id),
        array_agg(p.queue_name order by p.priority desc, p.id),
        array_agg(p.priority order by p.priority desc, p.id),
        array_agg(coalesce(m.fresh, 0) order by p.priority desc, p.id),
        array_agg(
            case
                when (select max(x.seen) from arrival as x) >= v_many then 0
                else least(coalesce(m.again, 0), coalesce(a.job_id, m.again, 0))
            end
            order by p.priority desc, p.id
        )
    into pairs, queues, priorities, fresh, again
    from pair as p
    left join mark as m on m.id = p.id
    left join arrival as a on a.queue_name = p.queue_name and a.priority = p.priority;
end;
$$;

comment on function _procrastinate_read_marks(text[], bigint[]) is
'Queues and priorities to look at that are not paused, each with its low-water marks.';
