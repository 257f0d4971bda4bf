\ir ../../setup.psql
select plan(10);

select set_eq(
    'select procrastinate_channels_v1(null)', $$values ('procrastinate_any_queue_v1')$$,
    'a worker of all queues listens on one channel'
);
select set_eq(
    $$select procrastinate_channels_v1('{mail,"a b#c","Q"}')$$,
    $$values
        ('procrastinate_queue_v1#mail'), ('procrastinate_queue_v1#a b#c'),
        ('procrastinate_queue_v1#Q')
    $$,
    'a worker of some queues on one each, named as in 3.x'
);
select results_eq(
    $$select procrastinate_channels_v1('{mail,mail,null}')$$,
    $$values ('procrastinate_queue_v1#mail')$$, 'each once'
);
select is_empty($$select procrastinate_channels_v1('{}')$$, 'no queue, no channel');
select results_eq(
    format('select procrastinate_channels_v1(array[%L])', q.name),
    format('values (%L)', 'procrastinate_queue_v1#' || q.channel),
    format('a name of %s bytes', octet_length(q.name))
)
from (
    values
        (repeat('q', 40), repeat('q', 40)),
        (repeat('q', 41), md5(repeat('q', 41))),
        (repeat('é', 20), repeat('é', 20)),
        (repeat('é', 20) || 'q', md5(repeat('é', 20) || 'q')),
        (repeat('🐘', 128), md5(repeat('🐘', 128)))
) as q (name, channel);
select ok(
    (
        select bool_and(octet_length(c) <= 63)
        from procrastinate_channels_v1(
            array(select repeat('é', n) from generate_series(1, 128) as n)
        ) as c
    ),
    'no channel is longer than PostgreSQL allows'
);

select * from finish();
rollback;
