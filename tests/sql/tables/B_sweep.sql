\ir ../setup.psql
select plan(2);

select procrastinate_sweep_v1() \g /dev/null
select is((select count(*) from procrastinate_sweep), 1::bigint, 'a sweep leaves one row');
select is(
    outcome_of('insert into procrastinate_sweep (id) values (2)'), '23514', 'and no second one'
);

select * from finish();
rollback;
