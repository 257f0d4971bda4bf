-- failed -> todo (or doing -> todo, for jobs whose worker is lost) for the jobs that pass
-- all filters, by hand and a bounded number a call; an outcome for each.
create function procrastinate_retry_jobs(
    queue_name text default null,
    task_name text default null,
    status procrastinate_job_status default 'failed',
    lock text default null,
    queueing_lock text default null,
    older_than interval default null,
    newer_than interval default null,
    job_ids bigint[] default null,
    all_jobs boolean default false,
    retry_at timestamptz default null,
    dry_run boolean default false,
    after_id bigint default 0,
    max_jobs integer default 500
)
returns table (job_id bigint, outcome text)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
#variable_conflict use_column
declare
    v_jobs bigint[];
begin
    perform _procrastinate_clear_derived();
    if coalesce($3, 'failed') not in ('failed', 'doing') then
        perform _procrastinate_raise('PQ003',
            'Only failed jobs, and those in doing, can be retried',
            format('The status asked for is %s.', $3),
            'Leave the status out, or ask for doing if the workers are lost.');
    end if;
    v_jobs := _procrastinate_find_jobs(
        array[coalesce($3, 'failed')], $1, $2, $4, $5, $6, $7, $8, $9, $12, $13
    );
    if $11 then
        return query select x.id, 'matched' from unnest(v_jobs) as x (id);
    else
        return query
        select x.job_id, x.outcome
        from _procrastinate_retry_many(v_jobs, coalesce($10, procrastinate_now())) as x
        order by x.job_id;
    end if;
end;
$$;

comment on function procrastinate_retry_jobs(
    text, text, procrastinate_job_status, text, text, interval, interval, bigint[], boolean,
    timestamptz, boolean, bigint, integer
) is
'failed -> todo for at most max_jobs that pass the filters; an outcome each. '
'Raises PQ003.';
