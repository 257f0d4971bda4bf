-- Blocked heads become ready, or delayed, and the queue of each that may run is told, even
-- where it was ready before: whoever met it while its lock was changing hands has left it.
create function _procrastinate_unblock(p_heads bigint[], p_xmin bigint, p_claim_id bigint)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    update procrastinate_todo as t
    set
        state = case
            when t.scheduled_at > procrastinate_now() then 'd'
            else 'a'
        end::"char",
        since = pg_current_xact_id(),
        head_xmin = p_xmin::text::xid8,
        free_after = p_claim_id
    where t.job_id = any(p_heads) and t.state::text = 'b';

    perform _procrastinate_notify(h.queue_name, 'job_inserted', min(h.job_id))
    from (
        select t.queue_name, t.job_id, t.state
        from procrastinate_todo as t
        where t.job_id = any(p_heads)
        offset 0
    ) as h
    where h.state <> 'd'
    group by h.queue_name;
    return true;
end;
$$;

comment on function _procrastinate_unblock(bigint[], bigint, bigint) is
'blocked -> ready or delayed for these heads of locks that nobody holds.';
