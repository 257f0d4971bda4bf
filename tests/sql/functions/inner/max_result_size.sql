\ir ../../setup.psql
select plan(3);

select is(_procrastinate_max_result_size(), 1048576, 'a megabyte');
set local procrastinate.max_result_size = '10';
select is(_procrastinate_max_result_size(), 10, 'or what the setting says');
set local procrastinate.max_result_size = '';
select is(_procrastinate_max_result_size(), 1048576, 'which may be none');

select * from finish();
rollback;
