\ir ../../setup.psql
select plan(5);

insert into procrastinate_results (job_id, expires_at, status)
select n, procrastinate_now() + n * interval '1 s', 'succeeded' from generate_series(1, 5) as n;
insert into procrastinate_results (job_id, progress) values (6, 1);
select is(_procrastinate_purge_results(10), 0::bigint, 'none has expired');
select travel('4 s') \g /dev/null
select is(_procrastinate_purge_results(3), 3::bigint, 'so many at most');
select results_eq(
    'select job_id from procrastinate_results order by 1', 'values (4::bigint), (5), (6)', 'the oldest first'
);
select is(_procrastinate_purge_results(3), 1::bigint, 'then the rest');
select results_eq(
    'select job_id from procrastinate_results order by 1', 'values (5::bigint), (6)',
    'what has not expired stays, and what never will'
);

select * from finish();
rollback;
