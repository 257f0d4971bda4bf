\ir ../../setup.psql
select plan(6);

create function fixtures.taken(
    p_jobs bigint[], p_budget integer default 10, p_picked bigint[] default '{}'
) returns text
language sql volatile as $$
    select format('heads %s busy %s over %s left %s', h.o_heads, h.o_busy, h.o_over, h.p_budget)
    from _procrastinate_take_heads(
        p_jobs,
        array(select j.lock from procrastinate_jobs as j where j.id = any(p_jobs)
            order by array_position(p_jobs, j.id)),
        p_picked,
        p_budget
    ) as h
$$;
insert into procrastinate_jobs (id, queue_name, task_name, lock, priority, status) values
    (901, 'q', 't', 'held', 0, 'doing');
insert into procrastinate_jobs (id, queue_name, task_name, lock, priority) values
    (902, 'q', 't', 'held', 0), (903, 'q', 't', 'free', 0), (904, 'q', 't', 'free', 0),
    (905, 'far', 't', 'far', 9), (906, 'q', 't', 'far', 0);
select is(
    taken('{902,903,904,906}'), 'heads {903} busy  over  left 7',
    'of each lock the first, if nobody holds it and it is among those asked for'
);
select results_eq(
    'select x, derived(x) from generate_series(902, 906) as x',
    $$values (902, 'todo:blocked'), (903, 'todo:ready'), (904, 'todo:blocked'),
        (905, 'todo:ready'), (906, 'todo:blocked')$$,
    'the others are parked; a head never is'
);
insert into procrastinate_jobs (id, queue_name, task_name, lock) values
    (911, 'q', 't', 'a'), (912, 'q', 't', 'b'), (913, 'q', 't', 'c');
select is(
    taken('{911,912,913}', 2), 'heads {911,912} busy  over {913} left 0',
    'no more locks than the budget allows'
);
insert into procrastinate_jobs (id, queue_name, task_name, lock, priority) values
    (921, 'q', 't', 'two', 0), (922, 'q', 't', 'two', 9);
select is(
    taken('{922}', 10, '{921}'), 'heads {} busy  over  left 9',
    'a lock is held by a job that this fetch has picked already, though it were no head'
);
select is(derived(922), 'todo:blocked', 'who came before it late waits for it');
update procrastinate_jobs set status = 'doing' where id = 921;
select is_sound();

select * from finish();
rollback;
