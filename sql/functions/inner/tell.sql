-- After a job of this queue and priority was written to todo: notifies, unless all of the
-- queue's workers have said that they look by themselves, and notes the priority if it is
-- new. One statement does both looks: this runs for every defer
-- (docs/decisions/0067-few-statements.md).
--
-- The look must have a snapshot of its own, taken when this transaction holds its lock on
-- todo. A worker that means to sleep takes its word back, commits, and then asks who holds
-- such a lock: whoever looked before that is among them, whoever looks later sees it
-- (docs/decisions/0073-quiet-notify.md).
create function _procrastinate_tell(
    p_queue_name text, p_priority integer, p_job_id bigint
)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_known boolean;
    v_quiet boolean;
begin
    select
        exists (
            select
            from procrastinate_priorities as p
            where p.queue_name = p_queue_name and p.priority = p_priority
        ),
        (  -- one that is not comes first; without a worker it is null
            select w.quiet
            from procrastinate_workers as w
            where w.queues is null or p_queue_name = any(w.queues)
            order by w.quiet
            limit 1
        )
    into v_known, v_quiet;
    if not v_known then
        v_known := _procrastinate_note_priority(p_queue_name, p_priority);
    end if;
    if v_quiet
        and current_setting('transaction_isolation') = 'read committed'
        and coalesce(current_setting('procrastinate.notify', true), '') <> 'always'
    then
        return false;
    end if;
    return _procrastinate_notify(p_queue_name, 'job_inserted', p_job_id);
end;
$$;

comment on function _procrastinate_tell(text, integer, bigint) is
'NOTIFYs of a job, unless all workers of its queue look by themselves; notes its priority.';
