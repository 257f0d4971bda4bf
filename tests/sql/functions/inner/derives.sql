\ir ../../setup.psql
select plan(4);

select ok(_procrastinate_derives(), 'as a rule the trigger has to derive');
set local procrastinate.derived = '0';
select ok(
    not _procrastinate_derives(), 'not where a statement has said that it does it all itself'
);
set local procrastinate.derived = '1';
select ok(_procrastinate_derives(), 'at another depth: this is not that statement');
set local procrastinate.derived = '';
select ok(_procrastinate_derives(), 'nor once it has ended');

select * from finish();
rollback;
