\ir ../../setup.psql
select plan(10);

select is(
    outcome_of(format('select _procrastinate_check_text(%L, ''queue name'', 5, %L)', c.v, c.required)),
    c.code, c.why
)
from (
    values
        ('mail', true, 'ok', 'what fits passes'), ('abcde', true, 'ok', 'to the last character'),
        ('🐘🐘🐘🐘🐘', true, 'ok', 'of any kind'), ('abcdef', true, 'PQ003', 'no further'),
        ('abcdef', false, 'PQ003', 'required or not'), (null, true, 'PQ003', 'null does not'),
        ('', true, 'PQ003', 'nor does nothing'), (null, false, 'ok', 'where it is required'),
        ('', false, 'ok', 'only')
) as c (v, required, code, why);
select is(
    error_of($$select _procrastinate_check_text('abcdef', 'queue name', 5, true)$$),
    'The queue name has 6 characters: at most 5 are allowed', 'the message names it'
);

select * from finish();
rollback;
