\ir ../../setup.psql
select plan(9);

select is(_procrastinate_channel('mail'), 'procrastinate_queue_v1#mail', 'as in 3.x');
select is(
    _procrastinate_channel(repeat('q', 40)), 'procrastinate_queue_v1#' || repeat('q', 40),
    'up to 40 bytes'
);
select is(
    _procrastinate_channel(repeat('é', 21)), 'procrastinate_queue_v1#' || md5(repeat('é', 21)),
    'the hash of a longer name, where 3.x failed'
);
select is(_procrastinate_channel(null), null, 'no queue has none');
select lives_ok(
    format('select pg_notify(_procrastinate_channel(%L), '''')', q), 'PostgreSQL takes it'
)
from unnest(array['', ' ', 'a"b', repeat('🐘', 128), repeat('x', 128)]) as q;

select * from finish();
rollback;
