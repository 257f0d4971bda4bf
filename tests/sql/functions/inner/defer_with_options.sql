\ir ../../setup.psql
select plan(3);

select _procrastinate_defer_with_options(
    '{q,q}', '{a,b}', '{7}', '{l}', '{ql}', array['{"x": 1}']::jsonb[], '{}',
    array[null, '{"meta": {"m": 1}, "ttl": 5}']::jsonb[], array[7, 8]
) \g /dev/null
select results_eq(
    'select id, task_name::text, priority, lock, queueing_lock, args, ttl from procrastinate_jobs order by id',
    $$values
        (7::bigint, 'a', 7, 'l', 'ql', '{"x": 1}'::jsonb, null::interval),
        (8, 'b', 0, null, null, '{}', '5 s')$$,
    'each job gets what is its own'
);
select results_eq(
    'select job_id, meta from procrastinate_results', $$values (8::bigint, '{"m": 1}'::jsonb)$$,
    'its meta waits for it'
);
select is_sound();

select * from finish();
rollback;
