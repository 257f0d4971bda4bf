-- Whoever waits for jobs says so, again and again while it does: for the next minute their
-- ends are announced. Returns until when; null where that can't be written down just now: a
-- standby, a transaction that only reads or keeps its snapshot, a row that somebody holds.
-- All share one row, and who was there just now has written it.
--
-- A transaction that ends a job and looked at the row before is not held up for this: it
-- may pass without a word, so look at the jobs again soon after.
create function procrastinate_announce_ends_v1()
returns timestamptz
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
declare
    -- not procrastinate_now(): who travels in time waits in this one
    v_now constant timestamptz := clock_timestamp();
    v_until timestamptz;
begin
    if current_setting('transaction_read_only')::boolean
        or current_setting('transaction_isolation') in ('repeatable read', 'serializable')
    then
        return null;
    end if;
    insert into procrastinate_announcements (ends_until)
    select v_now
    where not exists (select from procrastinate_announcements)
    on conflict (id) do nothing;
    select a.ends_until into v_until from procrastinate_announcements as a;
    if v_until > v_now + interval '30 seconds' then
        return v_until;
    end if;
    update procrastinate_announcements as a
    set ends_until = v_now + interval '1 minute'
    where
        a.id in (
            select x.id from procrastinate_announcements as x for no key update skip locked
        )
    returning a.ends_until into v_until;
    return v_until;
end;
$$;

comment on function procrastinate_announce_ends_v1() is
'Lets the ends of jobs be announced for a minute; returns until when.';
