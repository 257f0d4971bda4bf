\ir ../setup.psql
select plan(2);

select procrastinate_announce_ends_v1() \g /dev/null
select procrastinate_announce_ends_v1() \g /dev/null
select is((select count(*) from procrastinate_announcements), 1::bigint, 'all who wait share one row');
select is(
    outcome_of('insert into procrastinate_announcements (id, ends_until) values (2, now())'), '23514',
    'and there is no second one'
);

select * from finish();
rollback;
