-- The newest job of each of these keys, whatever its status.
create function procrastinate_find_keys_v1(p_keys text[])
returns table (key text, job_id bigint)
language plpgsql stable parallel safe security definer
set search_path from current
as $$
#variable_conflict use_column
begin
    return query
    select u.key, j.id
    from (select distinct x.key from unnest(p_keys) as x (key)) as u
    cross join lateral (
        select x.id
        from procrastinate_jobs as x
        where x.key = u.key
        order by x.id desc
        limit 1
    ) as j
    order by j.id;
end;
$$;

comment on function procrastinate_find_keys_v1(text[]) is
'The newest job of each key; no row for a key that no job has.';
