-- todo -> doing, the straight way: a worker of one queue that finds as many fresh jobs as
-- it has slots where its last claim ended. One statement instead of the dozen that the
-- general way takes: see docs/decisions/0003-low-water-marks.md.
--
-- It goes only where nothing but that is to be done: the worker is registered, the queue is
-- not paused and has used the one priority that the marks know, nothing fell due, and
-- nothing became ready again. Otherwise, and for what is missing, claim_jobs does the rest:
-- marks are raised only over a batch that was claimed whole.
create function _procrastinate_claim_fresh(
    p_worker_id bigint,
    p_queue text,
    p_limit integer,
    p_marks bigint[],
    out o_job_ids bigint[],
    out o_fresh bigint
)
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    with pair as materialized (
        select min(p.priority) as priority
        from procrastinate_priorities as p
        where p.queue_name = p_queue
        having
            count(*) = 1
            and min(p.id) = p_marks[4]
            and p_marks[1]::text::xid8 <= pg_snapshot_xmin(pg_current_snapshot())
            and count(p.priority) = 1
            and not exists (
                select
                from procrastinate_queues as s
                where s.queue_name = p_queue and s.paused_at is not null
            )
            and not exists (
                select
                from procrastinate_todo as t
                where
                    t.state = 'd'
                    and t.queue_name = p_queue
                    and t.scheduled_at <= procrastinate_now()
            )
            and (  -- not exists(): that would drop the order by, and the index with it
                select t.since
                from procrastinate_todo as t
                where t.state = 'a' and t.since >= p_marks[1]::text::xid8
                order by t.since
                limit 1
            ) is null
            and exists (
                select
                from procrastinate_workers as w
                where w.id = p_worker_id
                for key share skip locked
            )
    ),
    seen as materialized (
        select t.job_id + 0 as job_id, t.lock
        from procrastinate_todo as t
        where
            t.state = 'r'
            and t.queue_name = p_queue
            and t.priority = (select p.priority from pair as p)
            and t.job_id + 0 >= p_marks[5]
            and (
                select a.job_id
                from procrastinate_todo as a
                where
                    a.state = 'a'
                    and a.queue_name = p_queue
                    and a.priority = (select p.priority from pair as p)
                    and a.job_id + 0 >= p_marks[6]
                order by a.job_id + 0
                limit 1
            ) is null
        order by t.job_id + 0
        limit p_limit
    ),
    mine as (
        update procrastinate_jobs as j
        set status = 'doing', worker_id = p_worker_id
        where
            j.id = any(array(
                select x.id
                from procrastinate_jobs as x
                where
                    x.id = any(array(select s.job_id from seen as s where s.lock is null))
                    and x.status = 'todo'
                    and x.lock is null  -- as it is now: it may have changed since
                    and x.queue_name = p_queue
                    and coalesce(x.scheduled_at <= procrastinate_now(), true)
                for no key update skip locked
            ))
        returning j.id
    )
    select array_agg(m.id), max(m.id) + 1
    into o_job_ids, o_fresh
    from mine as m;
end;
$$;

comment on function _procrastinate_claim_fresh(bigint, text, integer, bigint[]) is
'todo -> doing for the next fresh jobs of one queue, where nothing else is to be done.';
