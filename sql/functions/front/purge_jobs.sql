-- Deletes finished jobs whose last event is old, oldest ids first, a bounded number a call:
-- a scheduled event in the future keeps a job, as in 3.x.
create function procrastinate_purge_jobs(
    older_than interval,
    queue_name text default null,
    statuses procrastinate_job_status[] default '{succeeded}',
    max_jobs integer default 10000
)
returns bigint
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_count bigint;
begin
    if $1 is null or coalesce($4, 0) < 1 or coalesce(cardinality($3), 0) = 0 then
        perform _procrastinate_raise('PQ003',
            'A purge needs an age, a status and a number of jobs',
            format('older_than %s, statuses %s, max_jobs %s.', coalesce($1::text, 'null'),
                coalesce($3::text, 'null'), coalesce($4::text, 'null')),
            'For example procrastinate_purge_jobs(interval ''30 days'').');
    end if;
    if $3 && array['todo', 'doing']::procrastinate_job_status[] then
        perform _procrastinate_raise('PQ003',
            'Only finished jobs can be purged', format('Got %s.', $3::text),
            'Leave out todo and doing; cancel waiting jobs first.');
    end if;
    delete from procrastinate_jobs as j
    where
        j.id in (
            select x.id
            from procrastinate_jobs as x
            where
                x.status = any($3)
                and ($2 is null or x.queue_name = $2)
                and coalesce(
                    (
                        select max(e.at)
                        from procrastinate_events as e
                        where e.job_id = x.id
                    ) < procrastinate_now() - $1,
                    true
                )
            order by x.id
            limit $4
            for update skip locked
        );
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

comment on function procrastinate_purge_jobs(
    interval, text, procrastinate_job_status[], integer
) is
'Deletes at most max_jobs finished jobs whose last event is older; how many. Raises PQ003.';
