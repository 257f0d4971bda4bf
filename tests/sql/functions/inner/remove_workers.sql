\ir ../../setup.psql
select plan(4);

-- through unregister and prune: tests/sql/functions/wire/
select a_worker() as a, a_worker('1 hour') as b, a_worker() as c \gset
select job from a_job('doing', p_worker => :a) \gset
select set_eq(
    format('select _procrastinate_remove_workers(array[%s, %s, -1], null)', :a, :c),
    format('values (%s::bigint), (%s)', :a, :c), 'by id, those that there are'
);
select set_eq(
    $$select _procrastinate_remove_workers(null, '1 min')$$, format('values (%s::bigint)', :b),
    'or by age'
);
select is((select worker_id from procrastinate_jobs where id = :job), null, 'jobs lose them');
select is_sound();

select * from finish();
rollback;
