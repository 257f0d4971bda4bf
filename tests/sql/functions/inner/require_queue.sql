\ir ../../setup.psql
select plan(5);

select is(
    outcome_of(format('select _procrastinate_require_queue(%L)', q.name)), q.code, q.why
)
from (
    values
        ('mail', 'ok', 'a queue'), (repeat('🐘', 128), 'ok', 'of any name'),
        (repeat('q', 129), 'PQ003', 'that is not too long'), ('', 'PQ003', 'nor empty'),
        (null, 'PQ003', 'nor null')
) as q (name, code, why);

select * from finish();
rollback;
