\ir ../../setup.psql
select plan(4);

create function fixtures.known_since(p_job bigint) returns timestamptz language sql volatile as
$$select _procrastinate_since(p_job)$$;
select procrastinate_now() as start, job from a_job(p_scheduled_at => '2999-01-01Z') \gset
select is(known_since(:job), :'start', 'a waiting job is what it is since it was deferred');
select travel('1 hour') \g /dev/null
update procrastinate_jobs set scheduled_at = null where id = :job;
update procrastinate_jobs set status = 'doing', worker_id = a_worker() where id = :job;
select is(known_since(:job), procrastinate_now(), 'a running one since it was started');
select travel('1 hour') \g /dev/null
update procrastinate_jobs set abort_requested = true where id = :job;
select is(
    known_since(:job), :'start'::timestamptz + interval '1 hour',
    'to be asked to abort changes nothing'
);
select is(known_since(0), null, 'without history there is no telling');

select * from finish();
rollback;
