\ir ../../setup.psql
-- what is heard: tests/python/sqllint/test_notify_of_jobs.py
select plan(6);

create function fixtures.seconds_left() returns integer
language sql volatile as $$
    select extract(epoch from a.ends_until - clock_timestamp())::integer from procrastinate_announcements as a
$$;

select procrastinate_announce_ends_v1() as until \gset
select is((select a.ends_until from procrastinate_announcements as a), :'until'::timestamptz, 'until when');
select is(seconds_left() between 55 and 60, true, 'ends are announced for a minute');
update procrastinate_announcements set ends_until = clock_timestamp() + interval '40 s';
select procrastinate_announce_ends_v1() \g /dev/null
select is(seconds_left() between 35 and 40, true, 'who comes soon after another need not write');
update procrastinate_announcements set ends_until = clock_timestamp() + interval '20 s';
select procrastinate_announce_ends_v1() \g /dev/null
select is(seconds_left() between 55 and 60, true, 'who comes later does');
update procrastinate_announcements set ends_until = clock_timestamp() - interval '1 h';
set local transaction_read_only = on;
select is(procrastinate_announce_ends_v1(), null, 'where nothing can be written there is nothing said');
select is(seconds_left() < 0, true, 'nor written');

select * from finish();
rollback;
