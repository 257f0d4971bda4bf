-- Whether a head that was handed over is still the next of its lock: nothing has joined the line
-- before it since, and this fetch has not claimed such a one already. Nobody else can have:
-- the key of the lock is in hand. Reads what the snapshot of the query that calls it shows.
create function _procrastinate_still_head(
    p_lock text, p_priority integer, p_job_id bigint, p_handed bigint[]
)
returns boolean
language plpgsql stable parallel unsafe
set search_path from current
as $$
begin
    return not exists (
        select
        from (
            select t.priority, t.job_id
            from procrastinate_todo as t
            where t.lock = p_lock and t.since >= p_handed[1]::text::xid8
            order by t.since
            offset 0
        ) as s
        where (~s.priority, s.job_id) < (~p_priority, p_job_id)
    ) and not exists (
        select
        from procrastinate_doing as d
        where d.lock = p_lock and d.claim_id > p_handed[2]
        order by d.claim_id
        limit 1
    );
end;
$$;

comment on function _procrastinate_still_head(text, integer, bigint, bigint[]) is
'Whether a head that this exchange hands over may still be claimed.';
