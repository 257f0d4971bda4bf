\ir ../../setup.psql
select plan(7);

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
select is_sound();

select * from finish();
rollback;
