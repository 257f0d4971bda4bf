-- Where a walk by id over old jobs may end: this job and the hundredth before it were both
-- deferred since, so that neither they nor, as ids grow with time, any after them has ended
-- before.
create function _procrastinate_are_young(p_job_id bigint, p_since timestamptz)
returns boolean
language plpgsql stable parallel safe
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = on  -- the caller has it off, which would read all events here
set jit = off
as $$
begin
    return not exists (
        select
        from unnest(array[p_job_id, (
            select j.id
            from procrastinate_jobs as j
            where j.id < p_job_id
            order by j.id desc
            offset 99
            limit 1
        )]) as x (id)
        where not exists (
            select
            from procrastinate_events as e
            where e.job_id = x.id and e.type = 'deferred' and e.at >= p_since
        )
    );
end;
$$;

comment on function _procrastinate_are_young(bigint, timestamptz) is
'Whether this job and the hundredth before it were both deferred since.';
