-- A worker says whether it looks for jobs by itself, so that nobody need notify it.
--
-- What it promises: while it is quiet it never rests with a free slot. Before it does, it
-- takes its word back, and when that is committed it asks procrastinate_list_writers_v1 who
-- may have gone by the old word, and fetches once more, and again when those have ended
-- (docs/decisions/0073-quiet-notify.md). A worker that never calls this is always notified.
create function procrastinate_set_quiet_v1(p_worker_id bigint, p_quiet boolean)
returns void
language plpgsql volatile parallel unsafe security definer
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
begin
    if p_quiet is null then
        perform _procrastinate_raise('PQ003',
            format('Worker %s says neither that it is quiet nor that it is not',
                coalesce(p_worker_id::text, 'null')),
            null, 'Say true or false.');
    end if;
    update procrastinate_workers as w
    set quiet = p_quiet
    where w.id = p_worker_id and w.quiet <> p_quiet;
    if not found then  -- it is so already, or there is no such worker
        perform _procrastinate_require_worker(p_worker_id);
    end if;
end;
$$;

comment on function procrastinate_set_quiet_v1(bigint, boolean) is
'Whether a worker looks for jobs by itself and need not be notified. Raises PQ003, PQ004.';
