-- For whoever waits for a job: whether it is over, and the channel to LISTEN to if not. The
-- end of a job that keeps no result is not announced: ask again now and then. Listen first,
-- then ask: an end between the two is seen by one of them.
create function procrastinate_watch_job(job_id bigint)
returns table (channel text, status procrastinate_job_status, over boolean)
language plpgsql stable parallel safe security definer
set search_path from current
as $$
#variable_conflict use_column
begin
    return query
    select 'procrastinate_ended_v1', g.status, g.status not in ('todo', 'doing')
    from procrastinate_get_results_v1(array[$1]) as g;
    if not found then
        perform _procrastinate_require_job($1);
    end if;
end;
$$;

comment on function procrastinate_watch_job(bigint) is
'Whether a job is over, and the channel that announces its end. Raises PQ002.';
