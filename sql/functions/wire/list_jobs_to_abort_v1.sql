-- procrastinate_list_jobs_to_abort_v2 for all that the worker runs.
create function procrastinate_list_jobs_to_abort_v1(p_worker_id bigint)
returns setof bigint
language plpgsql stable parallel safe security definer
set search_path from current
as $$
begin
    return query select procrastinate_list_jobs_to_abort_v2(p_worker_id);
end;
$$;

comment on function procrastinate_list_jobs_to_abort_v1(bigint) is
'Ids of the jobs of a worker that were asked to abort.';
