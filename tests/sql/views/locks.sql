\ir ../setup.psql
select plan(5);

select is_empty('select * from procrastinate_locks', 'no lock, no row');
select a_job() \g /dev/null
select is_empty('select * from procrastinate_locks', 'a job without one has none');

select job as holder, worker from a_job('doing', p_lock => 'held') \gset
select a_job(p_lock => 'held') \g /dev/null
select job as high from a_job(p_lock => 'held', p_priority => 1) \gset
select job as alone from a_job('doing', p_lock => 'alone') \gset
select job as waits from a_job(p_lock => 'waits', p_scheduled_at => '2999-01-01Z') \gset
select a_job('succeeded', p_lock => 'over') \g /dev/null
select results_eq(
    $$select lock, holder, next_job, waiting::integer from procrastinate_locks order by lock$$,
    format($$values
        ('alone', %s::bigint, null::bigint, 0), ('held', %s, %s, 2), ('waits', null, %s, 1)
    $$, :alone, :holder, :high, :waits),
    'a row for each lock in use: who holds it, who is next, how many wait'
);
select results_eq(
    $$
        select worker_id, held_since, last_heartbeat
        from procrastinate_locks where lock = 'held'
    $$,
    format('values (%s::bigint, procrastinate_now(), procrastinate_now())', :worker),
    'since when, under which worker, and when that one beat last'
);
select procrastinate_unregister_worker_v2(:worker) \g /dev/null
select results_eq(
    $$select holder, worker_id from procrastinate_locks where lock = 'held'$$,
    format('values (%s::bigint, null::bigint)', :holder),
    'a holder whose worker is gone is shown as such'
);

select * from finish();
rollback;
