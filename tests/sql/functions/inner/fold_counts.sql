\ir ../../setup.psql
select plan(3);

create function fixtures.counted() returns table (queue text, status text, jobs bigint, nr bigint)
language sql volatile as $$
    select c.queue_name, c.status::text, sum(c.jobs)::bigint, count(*)
    from procrastinate_counts as c group by 1, 2 order by 1, 2
$$;
select a_job('succeeded') from generate_series(1, 3) as n \g /dev/null
select a_job('failed', p_queue_name => 'r') \g /dev/null
update procrastinate_jobs set status = 'todo' where queue_name = 'r';
select _procrastinate_fold_counts() \g /dev/null
select results_eq(
    'select * from counted()', $$values ('q', 'succeeded', 3::bigint, 1::bigint)$$,
    'what was appended is added up; what is nothing goes'
);
select _procrastinate_fold_counts() \g /dev/null
select results_eq(
    'select * from counted()', $$values ('q', 'succeeded', 3::bigint, 1::bigint)$$, 'and stays'
);
select is_sound();

select * from finish();
rollback;
