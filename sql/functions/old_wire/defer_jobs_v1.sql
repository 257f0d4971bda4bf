-- Of 3.x: defers jobs, all or none; their ids in an array.
create function procrastinate_defer_jobs_v1(jobs procrastinate_job_to_defer_v1[])
returns bigint[]
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    return array(select d.id from procrastinate_defer_jobs($1) as d (id));
end;
$$;

comment on function procrastinate_defer_jobs_v1(procrastinate_job_to_defer_v1[]) is
'Called by 3.x: defers jobs, all or none.';
