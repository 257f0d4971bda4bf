-- Puts the head of each lock that nobody holds back among the jobs that may be fetched, and
-- tells its queue. The caller holds the keys of these locks and has made its changes.
create function _procrastinate_promote(p_released procrastinate_doing[], p_locks text[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = on
set enable_sort = off
set jit = off
as $$
declare
    v_heads constant bigint[] := _procrastinate_next_heads(p_released, p_locks);
begin
    return v_heads is null or _procrastinate_unblock(v_heads);
end;
$$;

comment on function _procrastinate_promote(procrastinate_doing[], text[]) is
'Unblocks the next head of each of these locks that nobody holds, and tells its queue.';
