\ir ../setup.psql
select plan(2);

select is((select count(*) from procrastinate_sweep), 1::bigint, 'there is one row');
select is(
    outcome_of('insert into procrastinate_sweep (id) values (2)'), '23514', 'and no second one'
);

select * from finish();
rollback;
