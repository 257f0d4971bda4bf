\ir ../../setup.psql
select plan(6);

select procrastinate_defer_job('q', 't', key => 'a') as a \gset
select procrastinate_defer_job('q', 't', key => 'b') as b \gset
select procrastinate_defer_job('q', 't', key => 'c') as c \gset
select procrastinate_defer_job('q', 't', key => 'd') as d \gset
select procrastinate_defer_job('q', 't') as e \gset
update procrastinate_jobs set status = 'doing' where id = :c;
update procrastinate_jobs set status = 'cancelled' where id = :d;
delete from procrastinate_keys;
insert into procrastinate_keys (key, job_id) values ('e', :e);
alter table procrastinate_jobs disable trigger procrastinate_jobs_updated_v1;
update procrastinate_jobs set key = 'a' where id = :b;
update procrastinate_jobs set key = 'a' where id = :d;
alter table procrastinate_jobs enable trigger procrastinate_jobs_updated_v1;
select results_eq(
    'select breach from procrastinate_check() order by 1',
    $$values
        ('keys: row missing, or of another job'), ('keys: row missing, or of another job'),
        ('keys: row missing, or of another job'), ('keys: row of no active job with this key')$$,
    'keys that are lost are noticed'
);
select is(procrastinate_repair(), 4::bigint, 'and repaired');
select results_eq(
    'select id, key from procrastinate_jobs order by id',
    format('values (%s::bigint, ''a''), (%s, null), (%s, ''c''), (%s, ''a''), (%s, null)', :a, :b, :c, :d, :e),
    'of two active jobs with one key the first keeps it'
);
select results_eq(
    'select key, job_id from procrastinate_keys order by 1',
    format('values (''a'', %s::bigint), (''c'', %s)', :a, :c), 'a running job has its key, and one that is over none'
);
update procrastinate_jobs set key = 'b' where id = :b;
select is(
    (select job_id from procrastinate_keys where key = 'b'), :b::bigint, 'afterwards triggers derive as before'
);
select is_sound();

select * from finish();
rollback;
