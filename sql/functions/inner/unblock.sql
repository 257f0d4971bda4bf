-- Blocked heads become ready, or delayed, and the queue of each is told: of one that was
-- ready before, because whoever met it while its lock was changing hands has left it; of
-- one that is delayed, because its time may have come since this transaction began.
--
-- Also of one that is ready, and was never blocked, it is written down what is known of its
-- line: else whoever claims it reads that from its start, over all dead rows that an old
-- snapshot keeps.
--
-- p_heads as next_heads has them: oldest transaction not seen, last claim, jobs.
create function _procrastinate_unblock(p_heads bigint[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    update procrastinate_todo as t
    set
        state = case
            when t.state::text <> 'b' then t.state
            when t.scheduled_at > procrastinate_now() then 'd'
            else 'a'
        end::"char",
        since = case when t.state::text <> 'b' then t.since else pg_current_xact_id() end,
        head_xmin = p_heads[1]::text::xid8,
        free_after = p_heads[2]
    where
        t.job_id = any(p_heads[3:])
        and (t.state::text = 'b' or t.state::text = 'r' and t.head_xmin is null);

    perform _procrastinate_tell(t.queue_name, min(t.priority), min(t.job_id))
    from procrastinate_todo as t
    where t.job_id = any(p_heads[3:])
    group by t.queue_name;
    return true;
end;
$$;

comment on function _procrastinate_unblock(bigint[]) is
'blocked -> ready or delayed for these heads of locks that nobody holds.';
