-- Claims and answers: the common part of fetch_jobs, finish_and_fetch and the old fetch.
create function _procrastinate_fetch(
    p_worker_id bigint, p_queues text[], p_limit integer, p_marks bigint[]
)
returns setof procrastinate_exchange_v1
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_claim record;
    v_row procrastinate_exchange_v1;
begin
    if p_limit is null or p_limit < 0 or p_limit > 10000 then
        perform _procrastinate_raise('PQ003',
            format('The number of jobs to fetch is %s', coalesce(p_limit::text, 'null')),
            null, 'Ask for 0 to 10000 jobs.');
    end if;
    perform _procrastinate_refuse_old_snapshot('Fetching jobs');
    -- shared with the worker's other lanes and its heartbeat; a prune takes it whole
    perform from procrastinate_workers as w where w.id = p_worker_id for key share skip locked;
    if not found then
        perform _procrastinate_raise('PQ004',
            format('Worker %s is not registered', p_worker_id),
            'It was pruned because its heartbeat stopped, or it has unregistered.',
            'Register again with procrastinate_register_worker_v2; jobs that it held are '
            'recovered or given to others.');
    end if;

    v_row.outcome := 'summary';
    if p_limit > 0 then
        select * into v_claim
        from _procrastinate_claim_jobs(p_worker_id, p_queues, p_limit, p_marks);
        v_row.contended := v_claim.o_contended;
        v_row.more := v_claim.o_more;
        v_row.marks := v_claim.o_marks;
        if cardinality(v_claim.o_job_ids) > 0 then
            return query
            select
                'claimed'::text, j.id, d.claim_id, j.status, j.queue_name, j.task_name,
                j.priority, j.lock, j.queueing_lock, j.args, j.scheduled_at, j.attempts,
                j.abort_requested, null::double precision, null::boolean, null::boolean,
                null::bigint[]
            from procrastinate_jobs as j
            join procrastinate_doing as d on d.job_id = j.id
            where j.id = any(v_claim.o_job_ids)
            order by j.priority desc, j.id;
        end if;
    else
        v_row.contended := false;
        v_row.more := false;
        v_row.marks := p_marks;
    end if;
    if p_limit > coalesce(cardinality(v_claim.o_job_ids), 0) then
        v_row.next_due_in := _procrastinate_next_due_in(p_queues);
    end if;
    return next v_row;
end;
$$;

comment on function _procrastinate_fetch(bigint, text[], integer, bigint[]) is
'todo -> doing for a worker''s next jobs, with the summary. Raises PQ003, PQ004, PQ005.';

-- Seconds until something in these queues may run that may not run now.
create function _procrastinate_next_due_in(p_queues text[])
returns double precision
language plpgsql stable parallel safe
set search_path from current
as $$
declare
    v_due timestamptz;
begin
    select min(x.at) into v_due
    from (
        select (
            select t.scheduled_at
            from procrastinate_todo as t
            where t.state = 'd' and t.queue_name = q.queue_name
            order by t.scheduled_at
            limit 1
        ) as at
        from _procrastinate_queues_of(p_queues) as q (queue_name)
        where
            not exists (
                select
                from procrastinate_queues as s
                where
                    s.queue_name = q.queue_name
                    and s.paused_at is not null
                    and coalesce(s.paused_until, 'infinity') > procrastinate_now()
            )
        union all
        select s.paused_until
        from procrastinate_queues as s
        where
            s.paused_until > procrastinate_now()
            and (p_queues is null or s.queue_name = any(p_queues))
    ) as x;
    return greatest(extract(epoch from v_due - procrastinate_now()), 0);
end;
$$;

comment on function _procrastinate_next_due_in(text[]) is
'Seconds until the next delayed job of these queues falls due or a pause ends; else null.';
