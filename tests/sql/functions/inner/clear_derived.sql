\ir ../../setup.psql
select plan(4);

set local procrastinate.derived = '0';
select is(_procrastinate_derives(), false, 'a caller says that all is derived');
select _procrastinate_clear_derived() \g /dev/null
select is(_procrastinate_derives(), true, 'which is taken back');
set local procrastinate.derived = '1';
select _procrastinate_clear_derived() \g /dev/null
select is(
    current_setting('procrastinate.derived'), '1',
    'what was said at another depth of triggers stays'
);
set local procrastinate.derived = '0';
select job from a_job() \gset
select procrastinate_cancel_job(:job) \g /dev/null
select is_sound('what an operator has set keeps nothing from being derived');

select * from finish();
rollback;
