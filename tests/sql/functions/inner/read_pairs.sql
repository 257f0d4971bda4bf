\ir ../../setup.psql
select plan(13);

select a_job(p_queue_name => q, p_priority => p)
from unnest('{a,b}'::text[]) as q, unnest('{0,5}'::integer[]) as p \g /dev/null
create function fixtures.pairs(p_queues text[]) returns text[] language sql as $$
    select array_agg(x.q || x.p order by x.nr)
    from _procrastinate_read_pairs(p_queues) as r
    cross join lateral unnest(r.o_queues, r.o_priorities) with ordinality as x (q, p, nr)
$$;
select is(pairs('{a}'), '{a5,a0}', 'the priorities of a queue, the highest first');
select is(pairs('{b,a}'), '{a5,b5,a0,b0}', 'of several, whatever their order');
select is(pairs(null), '{a5,b5,a0,b0}', 'of all');
select is(pairs('{none}'), null, 'a queue that nobody knows has none');
select is(pairs('{}'), null, 'nor have no queues');
insert into procrastinate_queues (queue_name, paused_at) values ('a', procrastinate_now());
select is(pairs(null), '{b5,b0}', 'nor has a paused queue');
select is(pairs('{a}'), null, 'that was named');
update procrastinate_queues set paused_until = procrastinate_now();
select is(pairs('{a}'), '{a5,a0}', 'until its pause has ended');
select is(pairs(null), '{a5,b5,a0,b0}', 'whoever asks');
update procrastinate_queues set paused_until = procrastinate_now() + interval '1 s';
select is(pairs('{a}'), null, 'and no sooner');
select is(pairs(null), '{b5,b0}', 'for nobody');
update procrastinate_queues set paused_at = null;
select is(pairs('{a}'), '{a5,a0}', 'a queue with settings that is not paused has its pairs');
select is(pairs(null), '{a5,b5,a0,b0}', 'as among all');

select * from finish();
rollback;
