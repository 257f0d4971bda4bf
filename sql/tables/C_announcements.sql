-- Until when the ends of jobs are announced: one row, of all who wait. A transaction that
-- notifies holds up all others that commit, and mostly nobody waits.
create table procrastinate_announcements (
    id integer primary key default 1 check (id = 1),
    ends_until timestamptz not null
) with (fillfactor = 50);

comment on table procrastinate_announcements is
'Until when ends of jobs are announced, because somebody waits for some.';
