\ir setup.psql
select plan(9);

-- A dump that is restored on another server brings numbers of transactions that are not those of
-- that server: they may lie far ahead of it. Nothing may be hidden by them.

create function fixtures.as_if_restored() returns void language sql as $$
    update procrastinate_todo set
        since = (since::text::bigint + 1000000000)::text::xid8,
        head_xmin = (head_xmin::text::bigint + 1000000000)::text::xid8;
    update procrastinate_doing set
        head_xmin = (head_xmin::text::bigint + 1000000000)::text::xid8;
$$;

-- a head that was promoted before the dump
select job as holder from a_job('doing', p_queue_name => 'a', p_lock => 'a') \gset
select job as low from a_job(p_queue_name => 'a', p_lock => 'a') \gset
select is(fetched('{a}'), '{}', 'a lock is held');
update procrastinate_jobs set status = 'succeeded' where id = :holder;
select as_if_restored() \g /dev/null
select job as high from a_job(p_queue_name => 'a', p_lock => 'a', p_priority => 1) \gset
select is(fetched('{a}'), array[:high]::bigint[], 'a newcomer with a higher priority goes first');
update procrastinate_jobs set status = 'succeeded' where id = :high;
select is(fetched('{a}'), array[:low]::bigint[], 'then the one that was promoted');

-- one that runs, as a head that was promoted before the dump
select job as first from a_job('doing', p_queue_name => 'b', p_lock => 'b') \gset
select job as second from a_job(p_queue_name => 'b', p_lock => 'b') \gset
select is(fetched('{b}'), '{}', 'a lock is held');
update procrastinate_jobs set status = 'succeeded' where id = :first;
select is(fetched('{b}'), array[:second]::bigint[], 'the next one runs');
select job as third from a_job(p_queue_name => 'b', p_lock => 'b') \gset
select as_if_restored() \g /dev/null
select job as high from a_job(p_queue_name => 'b', p_lock => 'b', p_priority => 1) \gset
select is(fetched('{b}'), '{}', 'the lock is held');
update procrastinate_jobs set status = 'succeeded' where id = :second;
select is(fetched('{b}'), array[:high]::bigint[], 'a newcomer with a higher priority goes first');
update procrastinate_jobs set status = 'succeeded' where id = :high;
select is(fetched('{b}'), array[:third]::bigint[], 'then the one that waited');
select is_sound();

select * from finish();
rollback;
