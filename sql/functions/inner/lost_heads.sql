-- Those of these locks whose next job stands parked though nobody holds the lock: there
-- should be none.
create function _procrastinate_lost_heads(p_locks text[])
returns table (lock text, job_id bigint)
language plpgsql stable parallel safe
set search_path from current
as $$
#variable_conflict use_column
begin
    return query
    select l.lock, h.job_id
    from unnest(p_locks) as l (lock)
    cross join lateral (
        select t.job_id, t.state
        from procrastinate_todo as t
        where t.lock = l.lock
        order by t.lock, ~t.priority, t.job_id
        limit 1
    ) as h
    where
        h.state = 'b'
        and not exists (
            select
            from procrastinate_doing as d
            where d.lock = l.lock
            order by d.claim_id
            limit 1
        );
end;
$$;

comment on function _procrastinate_lost_heads(text[]) is
'Those of these locks that nobody holds and whose head is blocked all the same.';
