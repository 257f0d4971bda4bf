\ir ../../setup.psql
select plan(4);

select job as a from a_job() \gset
select job as b from a_job(p_priority => 1) \gset
select job as c from a_job() \gset
select job as ended from a_job('succeeded', p_priority => 9) \gset
select is(
    _procrastinate_first_of(array[:c, :ended, :a, :b], 2), array[:b, :a]::bigint[],
    'the first of those that wait, by priority, then id'
);
select is(
    _procrastinate_first_of(array[:c, :a], 5), array[:a, :c]::bigint[], 'all, if there are fewer'
);
select is(_procrastinate_first_of('{}', 5), '{}', 'of none none');
select is(_procrastinate_first_of(null, 5), '{}', 'nor of null');

select * from finish();
rollback;
