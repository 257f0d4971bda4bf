\ir ../setup.psql
select plan(3);

select is(
    outcome_of($$insert into procrastinate_migrations (name, sha256) values ('zz', 'x')$$), 'ok',
    'a migration is on record'
);
select results_eq(
    $$select applied_at, applied_by::text from procrastinate_migrations where name = 'zz'$$,
    'values (now(), current_user::text collate "default")', 'with when and by whom'
);
select is(
    outcome_of($$insert into procrastinate_migrations (name, sha256) values ('zz', 'y')$$), '23505',
    'once'
);

select * from finish();
rollback;
