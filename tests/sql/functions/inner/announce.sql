\ir ../../setup.psql
select plan(3);

select job as waits from a_job(p_queue_name => 'mail', p_priority => 3) \gset
select job as aborting from a_job('asked_to_abort', p_queue_name => 'mail') \gset
delete from procrastinate_priorities;
select lives_ok(
    format('select _procrastinate_announce(array[%s, %s, -1], array[%2$s, -1])', :waits, :aborting),
    'queues of waiting jobs and workers of running ones are told, of others nobody'
);
select results_eq(
    'select queue_name::text, priority from procrastinate_priorities',
    $$values ('mail', 3)$$, 'and fetches look where the waiting ones are'
);
select lives_ok('select _procrastinate_announce(null, null)', 'of nothing nobody is told');

select * from finish();
rollback;
