\ir ../../setup.psql
select plan(4);

select procrastinate_defer_job('q', 't', key => 'a') as a \gset
select procrastinate_defer_job('q', 't', key => 'b') as b \gset
delete from procrastinate_keys;
alter table procrastinate_jobs disable trigger procrastinate_jobs_updated_v1;
update procrastinate_jobs set key = 'a' where id = :b;
alter table procrastinate_jobs enable trigger procrastinate_jobs_updated_v1;
select results_eq(
    'select breach from procrastinate_check() order by 1',
    $$values ('keys: row missing, or of another job'), ('keys: row missing, or of another job')$$,
    'keys that are lost are noticed'
);
select is(procrastinate_repair(), 2::bigint, 'and repaired');
select results_eq(
    'select id, key from procrastinate_jobs order by id',
    format('values (%s::bigint, ''a''), (%s, null)', :a, :b),
    'of two jobs with one key the first keeps it'
);
select is_sound();

select * from finish();
rollback;
