\ir ../../setup.psql
select plan(4);

-- what arrives is read in tests/python/sqllint/test_notify.py: it does so after a commit
select lives_ok(
    format('select _procrastinate_notify(%L, ''job_inserted'', 1)', q), 'any queue may be told'
)
from unnest(array['mail', '', 'a"b', repeat('🐘', 128)]) as q;

select * from finish();
rollback;
