-- The first of these waiting jobs by priority, then id.
create function _procrastinate_first_of(p_job_ids bigint[], p_count integer)
returns bigint[]
language plpgsql stable parallel safe
set search_path from current
as $$
begin
    return array(
        select t.job_id
        from (
            select x.job_id, x.priority
            from procrastinate_todo as x
            where x.job_id = any(p_job_ids)
            offset 0
        ) as t
        order by t.priority desc, t.job_id
        limit p_count
    );
end;
$$;

comment on function _procrastinate_first_of(bigint[], integer) is
'The first of these waiting jobs by priority, then id.';
