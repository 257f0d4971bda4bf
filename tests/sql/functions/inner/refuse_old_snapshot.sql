\ir ../../setup.psql
select plan(1);

-- its refusal needs a transaction of another level: tests/python/sqllint/test_isolation.py
select is(
    outcome_of($$select _procrastinate_refuse_old_snapshot('This')$$), 'ok',
    'READ COMMITTED is what is wanted'
);

select * from finish();
rollback;
