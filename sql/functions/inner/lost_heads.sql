-- The locks whose head stands parked though no job holds them: there should be none.
create function _procrastinate_lost_heads()
returns table (lock text, job_id bigint)
language sql stable parallel safe
begin atomic
    select b.lock, h.job_id
    from (
        select distinct t.lock
        from procrastinate_todo as t
        where t.state = 'b' and t.lock is not null
    ) as b
    cross join lateral (
        select t.job_id, t.state
        from procrastinate_todo as t
        where t.lock = b.lock
        order by ~t.priority, t.job_id
        limit 1
    ) as h
    where
        h.state = 'b'
        and not exists (select from procrastinate_doing as d where d.lock = b.lock)
    order by b.lock;
end;

comment on function _procrastinate_lost_heads() is
'Locks that nobody holds whose head is blocked all the same, with that job.';
