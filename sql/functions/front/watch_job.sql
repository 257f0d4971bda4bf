-- For whoever waits for a job: whether it is over, and the channel to LISTEN to if not. For
-- a minute from then on the ends of jobs that keep a result are announced there. Listen
-- first, then ask, and again soon, and now and then: an end that is under way when somebody
-- asks for the first time in minutes is not announced, nor is that of a job without a
-- result.
create function procrastinate_watch_job(job_id bigint)
returns table (channel text, status procrastinate_job_status, over boolean)
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
#variable_conflict use_column
begin
    perform procrastinate_announce_ends_v1();
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
