\ir ../../setup.psql
select plan(16);

create function fixtures.delay(
    p_attempts integer, p_delay interval, p_factor double precision default null,
    p_cap interval default null, p_jitter boolean default null
)
returns interval
language sql volatile as $$
    select _procrastinate_retry_delay(j)
    from jsonb_populate_record(null::procrastinate_jobs, jsonb_build_object(
        'attempts', p_attempts, 'retry_delay', p_delay, 'retry_backoff', p_factor,
        'retry_delay_cap', p_cap, 'retry_jitter', p_jitter
    )) as j
$$;
select is(delay(0, null), '0', 'no delay is none');
select is(delay(5, '3 s'), '3 s', 'without a factor it stays the same');
select is(
    array(select date_trunc('milliseconds', delay(n, '3 s', 2)) from generate_series(0, 4) as n),
    '{3 s,6 s,12 s,24 s,48 s}', 'a factor makes it grow with each attempt'
);
select is(
    array(select date_trunc('milliseconds', delay(n, '3 s', 2, '10 s')) from generate_series(0, 3) as n),
    '{3 s,6 s,10 s,10 s}', 'up to the cap'
);
select is(delay(0, '30 s', null, '10 s'), '10 s', 'which holds from the first');
select is(delay(2147483647, '3 s', 1e6, '1 day'), '1 day', 'no number of attempts is too much');
select ok(delay(2147483647, '3 s', 1e6) between '300 years' and '400 years', 'nor without a cap');
select ok(delay(2147483647, '3 s', 0.5) < '1 us', 'a factor may make it shrink');
select is(delay(0, '3 s', 0), '3 s', 'a factor of zero');
select is(delay(1, '3 s', 0), '0', 'leaves the first delay only');
select is(delay(3, null, 2), '0', 'a factor of no delay is none');
select ok(
    bool_and(x.d >= '0' and x.d <= '8 s'), 'jitter takes a part of it'
)
from (select delay(3, '1 s', 2, null, true) as d from generate_series(1, 200)) as x;
select ok(count(distinct x.d) > 100, 'another each time')
from (select delay(3, '1 s', 2, null, true) as d from generate_series(1, 200)) as x;
select ok(max(x.d) > '6 s' and min(x.d) < '2 s', 'of all of it')
from (select delay(3, '1 s', 2, null, true) as d from generate_series(1, 200)) as x;
select ok(bool_and(x.d <= '4 s'), 'after the cap')
from (select delay(3, '1 s', 2, '4 s', true) as d from generate_series(1, 200)) as x;
select is(delay(3, '1 s', 1, null, false), '1 s', 'false is none');

select * from finish();
rollback;
