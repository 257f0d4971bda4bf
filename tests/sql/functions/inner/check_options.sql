\ir ../../setup.psql
select plan(40);

select lives_ok(
    $$select _procrastinate_check_options(array[
        '{}', null, 'null', '{"timeout": null}',
        '{"timeout": 0.001, "heartbeat": 1, "ttl": -1, "max_attempts": 1, "retry_delay": 0,
            "retry_backoff": 0, "retry_delay_cap": 0, "retry_jitter": true,
            "keep_result": false, "key": "k", "group_key": "g", "meta": {}}'
    ]::jsonb[], '{}')$$,
    'what can be meant passes'
);
select lives_ok('select _procrastinate_check_options(null, null)', 'none is nothing to refuse');
select is(
    outcome_of(format('select _procrastinate_check_options(array[%L]::jsonb[], ''{}'')', r.options)),
    'PQ003', r.options
)
from (
    values
        ('[]'), ('"timeout"'), ('{"timout": 1}'), ('{"timeout": "1"}'), ('{"timeout": 0}'),
        ('{"timeout": -1}'), ('{"timeout": 1e11}'), ('{"timeout": 1e400}'), ('{"heartbeat": 0}'),
        ('{"ttl": 1e11}'), ('{"max_attempts": 0}'), ('{"max_attempts": 1.5}'),
        ('{"max_attempts": 2147483648}'), ('{"retry_delay": -1}'), ('{"retry_backoff": -1}'),
        ('{"retry_delay_cap": -1}'), ('{"retry_jitter": 1}'), ('{"keep_result": "yes"}'),
        ('{"key": ""}'), ('{"key": 1}'), ('{"group_key": ""}'), ('{"meta": []}')
) as r (options);
select is(
    outcome_of(format(
        'select _procrastinate_check_options(array[jsonb_build_object(%L, repeat(''x'', %s))], ''{}'')',
        k.key, r.length
    )),
    r.outcome, format('a %s of %s characters', k.key, r.length)
)
from (values (500, 'ok'), (501, 'PQ003')) as r (length, outcome)
cross join (values ('key'), ('group_key')) as k (key);
select is(
    outcome_of(format(
        'select _procrastinate_check_options(array[jsonb_build_object(%L, repeat(''😀'', 450) || repeat(''x'', %s))], ''{}'')',
        r.name, r.plain
    )),
    r.outcome, format('a %s of %s bytes', r.name, 1800 + r.plain)
)
from (
    values ('group_key', 0, 'ok'), ('group_key', 1, 'PQ003'), ('key', 1, 'ok')
) as r (name, plain, outcome);
select is(
    error_of(format(
        'select _procrastinate_check_options(array[jsonb_build_object(%L, 1)], ''{}'')', r.name
    ), 'hint'),
    r.hint, 'the hint for a ' || r.name
)
from (
    values ('group_key', 'Give 1 to 500 characters, 1800 bytes as JSON.'), ('key', 'Give 1 to 500 characters.')
) as r (name, hint);
select lives_ok(
    $$select _procrastinate_check_options('{"{\"group_key\": null}","{}"}', '{l,l}')$$,
    'a lock and no group are fine'
);
select is(
    outcome_of($$select _procrastinate_check_options('{"{\"group_key\": \"g\"}"}', '{l}')$$), 'PQ003',
    'a lock and a group are too much'
);
select is(
    error_of($$select _procrastinate_check_options('{"{}","{\"timout\": 1}"}', '{}')$$),
    'A job has no option "timout"', 'the error names the option'
);
select is(
    error_of($$select _procrastinate_check_options('{"{\"timeout\": \"soon\"}"}', '{}')$$),
    'The option "timeout" of a job cannot be "soon"', 'and its value'
);
select is(
    error_of($$select _procrastinate_check_options('{"{\"timeout\": 0}"}', '{}')$$, 'hint'),
    'Give a number from 0.001 to 10000000000 (seconds).', 'and says what can be'
);
select is(
    error_of($$select _procrastinate_check_options('{"{\"max_attempts\": 0}"}', '{}')$$, 'hint'),
    'Give a number from 1 to 2147483647.', 'which need not be a time'
);
select is(
    error_of(format(
        'select _procrastinate_check_options(array[jsonb_build_object(''timeout'', %L)], ''{}'')',
        repeat('9', 200)
    )),
    'The option "timeout" of a job cannot be "' || repeat('9', 59), 'a long value is cut'
);

select * from finish();
rollback;
