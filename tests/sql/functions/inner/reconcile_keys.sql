\ir ../../setup.psql
select plan(9);

select job as a from a_job() \gset
select _procrastinate_reconcile_keys(array[:a]) \g /dev/null
select is_empty('select from procrastinate_keys', 'a job without a key has no row');
update procrastinate_jobs set key = 'k' where id = :a;
select results_eq(
    'select key, job_id from procrastinate_keys', format('values (''k'', %s::bigint)', :a),
    'one that gets a key has one'
);
update procrastinate_jobs set key = 'l' where id = :a;
select results_eq('select key from procrastinate_keys', $$values ('l')$$, 'that follows its key');
select job as b from a_job() \gset
select is(
    error_of(format('update procrastinate_jobs set key = ''l'' where id = %s', :b), 'constraint'),
    'procrastinate_keys_pkey', 'no two active jobs have the same'
);
update procrastinate_jobs set status = 'cancelled' where id = :a;
select is_empty('select from procrastinate_keys', 'a job that is over has none');
select lives_ok(
    format('update procrastinate_jobs set key = ''l'' where id = %s', :b), 'and its key is free'
);
-- rows that are wrong
select job as c from a_job('doing') \gset
update procrastinate_jobs set key = 'c' where id = :c;
delete from procrastinate_keys;
insert into procrastinate_keys (key, job_id) values ('c', :a), ('l', :c), ('stale', :b);
select _procrastinate_reconcile_keys('{}') \g /dev/null
select is((select count(*) from procrastinate_keys), 3::bigint, 'of no job there is nothing to do');
select _procrastinate_reconcile_keys(array[:a, :c]) \g /dev/null
select results_eq(
    'select key, job_id from procrastinate_keys order by 1',
    format('values (''c'', %s::bigint), (''stale'', %s)', :c, :b),
    'of two their rows are made true, and of the third left'
);
select _procrastinate_reconcile_keys(array[:b]) \g /dev/null
select is_sound();

select * from finish();
rollback;
