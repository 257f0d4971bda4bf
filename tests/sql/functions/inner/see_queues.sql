\ir ../../setup.psql
select plan(5);

create function fixtures.seen(
    p_take integer, p_pass bigint[] default '{}', p_fresh bigint default 0, p_again bigint default 0
)
returns text language sql volatile as $$
    select format('%s free %s locked %s', s.o_seen, s.o_free, s.o_locked)
    from _procrastinate_see_queues('{q,r}', 0, array[p_fresh, 0], array[p_again, 0], p_take, p_pass, null) as s
$$;
insert into procrastinate_jobs (id, queue_name, task_name, lock, scheduled_at, status) values
    (901, 'q', 't', null, null, 'failed'), (902, 'q', 't', 'l', null, 'todo'),
    (903, 'q', 't', null, '2999-01-01Z', 'todo'), (904, 'q', 't', null, null, 'todo'),
    (905, 'other', 't', null, null, 'todo');
update procrastinate_jobs set status = 'todo' where id = 901;
select is(
    seen(10), '3 free {901,904} locked {902}', 'the ready jobs, with and without a lock, by id'
);
select is(seen(2), '2 free {901} locked {902}', 'so many at most');
select is(seen(10, '{901,902}'), '1 free {904} locked ', 'but not those picked before');
select is(seen(10, '{}', 903, 0), '2 free {901,904} locked ', 'fresh ones from their mark on');
select is(seen(10, '{}', 0, 902), '2 free {904} locked {902}', 'those ready again from theirs');

select * from finish();
rollback;
