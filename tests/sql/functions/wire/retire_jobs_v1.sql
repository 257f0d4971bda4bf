\ir ../../setup.psql
select plan(24);

create function fixtures.retired(p_after bigint default 0, p_max integer default 100)
returns text language sql volatile as
$$select format('%s, %s', r.retired, coalesce(r.next_id::text, 'end'))
from procrastinate_retire_jobs_v1('1 day', p_after, p_max) as r$$;
create function fixtures.there() returns bigint[] language sql volatile as
$$select coalesce(array_agg(id order by id), '{}') from procrastinate_jobs$$;

select job as succeeded from a_job('succeeded') \gset
select job as failed from a_job('failed') \gset
select job as cancelled from a_job('cancelled') \gset
select job as aborted from a_job('aborted') \gset
select job as todo from a_job() \gset
select job as doing from a_job('doing') \gset
insert into procrastinate_results (job_id, result) values (:succeeded, '1');
insert into procrastinate_jobs (queue_name, task_name, status)
values ('q', 'imported', 'succeeded') returning id as imported \gset
select is(retired(), '0, end', 'what has ended lately stays');
select travel('1 day 1 second') \g /dev/null
select job as young from a_job('succeeded') \gset
select is(retired(), '4, end', 'what ended long ago goes, however it ended');
select is(
    there(), array[:todo, :doing, :imported, :young]::bigint[],
    'what waits or runs stays, and what has no history to tell its age'
);
select is(events_of(:succeeded), '{}', 'the history goes');
select is_empty('select from procrastinate_results', 'and the result');
select is(retired(), '0, end', 'once');

-- A pass in steps
delete from procrastinate_jobs;
select count(a.job), min(a.job) as first from generate_series(1, 4) as n
cross join lateral a_job('succeeded', p_priority => n) as a \gset
select travel('2 days') \g /dev/null
select a_job('succeeded') \g /dev/null
select a_job('succeeded') \g /dev/null
select a_job('succeeded') \g /dev/null
select is(retired(0, 3), format('3, %s', :first + 2), 'a call looks at so many, and says where to go on');
select is(
    retired(:first + 2, 3), '1, end',
    'a job that was deferred lately ends the pass: those after it were later still'
);
select is(cardinality(there()), 3, 'and none of them went');

-- A job that was deferred long ago and ended lately
delete from procrastinate_jobs;
select job as slow from a_job('doing') \gset
select job as behind from a_job('succeeded') \gset
select travel('2 days') \g /dev/null
update procrastinate_jobs set status = 'succeeded' where id = :slow;
select is(retired(0, 1), format('0, %s', :slow), 'stays, and hides nothing behind it');
select is(retired(:slow, 1), format('1, %s', :behind), 'which goes');
select is(retired(:behind, 1), '0, end', 'to the end of the table');
insert into procrastinate_jobs (queue_name, task_name, status)
values ('q', 'imported', 'succeeded') returning id as imported \gset
select is(retired(:behind, 1), format('0, %s', :imported), 'a job without history does not end it');

-- The borders
delete from procrastinate_jobs;
select a_job('succeeded') \g /dev/null
select job as later from a_job('succeeded') \gset
select travel('1 day') \g /dev/null
select is(retired(), '0, end', 'what ended just so long ago stays');
select is(retired(0, 1), '0, end', 'and what was deferred just so long ago ends a pass');
select is(
    (select retired from procrastinate_retire_jobs_v1('0')), 2::bigint, 'an age of 0 is one'
);

-- Another at the same time
select is(
    (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()
        and mode = 'ExclusiveLock'), 1::bigint, 'whoever does it holds a key'
);
select is(
    outcome_of(format('select procrastinate_retire_jobs_v1(%s)', a)), 'PQ003',
    format('(%s) is refused', a)
)
from unnest(array[
    'null', '''-1 s''', '''1 s'', null', '''1 s'', 0, 0', '''1 s'', 0, null'
]) as a;
select is_sound('retention leaves the derived tables true');
select is(retired(), '0, end', 'nothing else is left to do');

select * from finish();
rollback;
