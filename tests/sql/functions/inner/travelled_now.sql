\ir ../../setup.psql
select plan(1);

-- who may travel, and who may not: tests/sql/functions/front/now.sql
set local procrastinate.now = '2030-01-01Z';
select is(_procrastinate_travelled_now(), '2030-01-01Z', 'the time that the owner has set');

select * from finish();
rollback;
