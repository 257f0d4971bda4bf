-- todo -> cancelled (or gone) for the jobs that pass all filters, a bounded number a call;
-- with abort, those in doing are asked to abort, too. An outcome for each.
create function procrastinate_cancel_jobs(
    queue_name text default null,
    task_name text default null,
    status procrastinate_job_status default null,
    lock text default null,
    queueing_lock text default null,
    older_than interval default null,
    newer_than interval default null,
    job_ids bigint[] default null,
    all_jobs boolean default false,
    abort boolean default false,
    delete_jobs boolean default false,
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
    v_abort constant boolean := coalesce($10, false);
    v_statuses procrastinate_job_status[];
    v_jobs bigint[];
begin
    perform _procrastinate_clear_derived();
    v_statuses := case
        when $3 is not null then array[$3]
        when v_abort then '{todo,doing}'
        else '{todo}'
    end;
    if not v_statuses <@ '{todo,doing}' or ($3 = 'doing' and not v_abort) then
        perform _procrastinate_raise('PQ003',
            'Only waiting jobs can be cancelled, and running ones asked to abort',
            format('The status asked for is %s.', $3),
            'Leave the status out; say abort => true for those in doing.');
    end if;
    v_jobs := _procrastinate_find_jobs(
        v_statuses, $1, $2, $4, $5, $6, $7, $8, $9, $13, $14
    );
    if $12 then
        return query select x.id, 'matched' from unnest(v_jobs) as x (id);
    else
        return query
        select x.job_id, x.outcome
        from _procrastinate_cancel_many(v_jobs, v_abort, coalesce($11, false)) as x
        order by x.job_id;
    end if;
end;
$$;

comment on function procrastinate_cancel_jobs(
    text, text, procrastinate_job_status, text, text, interval, interval, bigint[], boolean,
    boolean, boolean, boolean, bigint, integer
) is
'todo -> cancelled for at most max_jobs that pass the filters; an outcome each. '
'Raises PQ003.';
