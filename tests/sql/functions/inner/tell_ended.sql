\ir ../../setup.psql
-- what is heard: tests/python/sqllint/test_notify_of_jobs.py
select plan(5);

select is(_procrastinate_tell_ended('{1}'), false, 'nobody has ever waited');
select procrastinate_announce_ends_v1() \g /dev/null
select is(_procrastinate_tell_ended('{1}'), true, 'somebody waits');
select is(_procrastinate_tell_ended('{}'), false, 'but for no job there is nothing to tell');
select is(_procrastinate_tell_ended(null), false, 'nor for none at all');
update procrastinate_announcements set ends_until = clock_timestamp();
select is(_procrastinate_tell_ended('{1}'), false, 'somebody has waited');

select * from finish();
rollback;
