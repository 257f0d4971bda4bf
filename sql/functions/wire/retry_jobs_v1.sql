-- doing -> todo: runs that failed and are to be tried again, with a new schedule, priority,
-- queue or lock where given. A delay, where no time is given, counts from now by the clock
-- of the database. A job asked to abort, or whose queueing lock is taken by a waiting job,
-- ends as failed instead.
create function procrastinate_retry_jobs_v1(
    p_worker_id bigint,
    p_job_ids bigint[],
    p_claim_ids bigint[],
    p_retry_ats timestamptz[],
    p_priorities integer[],
    p_queue_names text[],
    p_locks text[],
    p_retry_ins interval[] default null
)
returns table (job_id bigint, outcome text, status procrastinate_job_status)
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := procrastinate_now();
    v_job record;
    v_held boolean;
begin
    perform _procrastinate_clear_derived();
    perform _procrastinate_check_report(
        p_worker_id, 0, p_job_ids, p_claim_ids,
        array_fill(
            'failed'::procrastinate_job_status, array[coalesce(cardinality(p_job_ids), 0)]
        ),
        '{}'
    );
    perform _procrastinate_check_text(x.queue_name, 'queue name', 128, true)
    from unnest(p_queue_names) as x (queue_name)
    where x.queue_name is not null;
    v_held := _procrastinate_lock_jobs(p_job_ids, p_locks);
    for v_job in
        select
            u.job_id, u.claim_id, u.priority, u.queue_name, u.lock,
            coalesce(u.retry_at, v_now + u.retry_in, v_now) as retry_at
        from unnest(
            p_job_ids, p_claim_ids, p_retry_ats, p_priorities, p_queue_names, p_locks,
            p_retry_ins
        ) as u (job_id, claim_id, retry_at, priority, queue_name, lock, retry_in)
        where u.job_id is not null
        order by u.job_id
    loop
        job_id := v_job.job_id;
        v_held := _procrastinate_put_back(
            p_worker_id, v_job.job_id, v_job.claim_id, 1,
            v_job.retry_at, v_job.priority, v_job.queue_name, v_job.lock
        );
        select j.status into status from procrastinate_jobs as j where j.id = v_job.job_id;
        outcome := case
            when not v_held then 'not_held'
            when status = 'todo' then 'retried'
            else status::text
        end;
        return next;
    end loop;
end;
$$;

comment on function procrastinate_retry_jobs_v1(
    bigint, bigint[], bigint[], timestamptz[], integer[], text[], text[],
    interval[]
) is 'doing -> todo for these claims, attempts + 1; an outcome for each job. Raises PQ003.';
