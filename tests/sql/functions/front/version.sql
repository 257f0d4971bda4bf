\ir ../../setup.psql
select plan(2);

delete from procrastinate_migrations;
select is(procrastinate_version(), null, 'no migration, no version');
insert into procrastinate_migrations (name, sha256) values
    ('04.00.00_01_pre_baseline.sql', 'x'), ('04.02.00_01_pre_more.sql', 'y'),
    ('04.01.00_50_post_less.sql', 'z');
select is(procrastinate_version(), '04.02.00', 'the version is that of the last migration by name');

select * from finish();
rollback;
