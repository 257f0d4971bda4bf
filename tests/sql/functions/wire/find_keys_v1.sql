\ir ../../setup.psql
select plan(3);

select procrastinate_defer_job('q', 't', key => 'k') as a \gset
update procrastinate_jobs set status = 'cancelled' where id = :a;
select procrastinate_defer_job('q', 't', key => 'k') as b \gset
select procrastinate_defer_job('q', 't', key => 'l') as c \gset
select results_eq(
    $$select * from procrastinate_find_keys_v1('{l,k,m,k,null}')$$,
    format('values (''k'', %s::bigint), (''l'', %s)', :b, :c), 'the newest job of each key'
);
select is_empty('select procrastinate_find_keys_v1(null)', 'null is none');
select is_empty('select procrastinate_find_keys_v1(''{}'')', 'none, none');

select * from finish();
rollback;
