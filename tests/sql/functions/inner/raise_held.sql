\ir ../../setup.psql
select plan(3);

prepare it as select _procrastinate_raise_held('a "lock"');
select throws_ok('it', '23505', null, 'a lock that is held is a unique violation');
select is(
    error_of('execute it', 'constraint'), 'procrastinate_jobs_lock_idx_v1',
    'by the name that 3.x gave to that rule'
);
select is(
    error_of('execute it', 'detail'), 'Key (lock)=(a "lock") already exists.', 'with its text'
);

select * from finish();
rollback;
