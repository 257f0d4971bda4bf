\ir ../setup.psql
select plan(8);

select is_empty('select * from procrastinate_overview', 'no queue, no row');

select job from a_job(p_queue_name => 'mail') \gset
select a_job(p_queue_name => 'mail', p_priority => 5) \g /dev/null
select a_job(p_queue_name => 'mail', p_scheduled_at => '2999-01-02Z') \g /dev/null
select a_job(p_queue_name => 'mail', p_scheduled_at => '2999-01-01Z') \g /dev/null
select a_job('doing', p_queue_name => 'mail', p_lock => 'l') \g /dev/null
select a_job(p_queue_name => 'blocked', p_lock => 'l') \g /dev/null
select fetched('{blocked}') \g /dev/null
select a_job(s, p_queue_name => 'ended')
from unnest('{succeeded,succeeded,succeeded,failed,failed,cancelled,aborted}'::text[]) as s
\g /dev/null
select procrastinate_pause_queue('paused', 'a reason') \g /dev/null
select procrastinate_pause_queue('was paused', 'no more', '2001-01-01Z') \g /dev/null

select results_eq(
    $$
        select queue_name::text, todo::integer, doing::integer, succeeded::integer,
            failed::integer, cancelled::integer, aborted::integer, ready::integer,
            delayed::integer, blocked::integer
        from procrastinate_overview order by queue_name
    $$,
    $$values
        ('blocked', 1, 0, 0, 0, 0, 0, 0, 0, 1),
        ('ended', 0, 0, 3, 2, 1, 1, 0, 0, 0),
        ('mail', 4, 1, 0, 0, 0, 0, 2, 2, 0),
        ('paused', 0, 0, 0, 0, 0, 0, 0, 0, 0),
        ('was paused', 0, 0, 0, 0, 0, 0, 0, 0, 0)
    $$,
    'a row for each queue, with its jobs by status and what those that wait wait for'
);
select results_eq(
    'select queue_name::text, paused from procrastinate_overview order by queue_name',
    $$values ('blocked', false), ('ended', false), ('mail', false), ('paused', true),
        ('was paused', false)$$,
    'and whether it is paused'
);
select results_eq(
    $$select oldest_waiting, next_due_at from procrastinate_overview where queue_name = 'mail'$$,
    format($$values (%s::bigint, '2999-01-01Z'::timestamptz)$$, :job),
    'the job that has waited longest, and when the next one falls due'
);
select travel('1 hour') \g /dev/null
select is(
    (select latency from procrastinate_overview where queue_name = 'mail'), '1 hour',
    'and how long it has waited, by the clock of the queue'
);
select is(
    (select latency from procrastinate_overview where queue_name = 'ended'), null,
    'where nothing waits nothing has waited'
);

-- Numbers of finished jobs follow every change
update procrastinate_jobs set queue_name = 'moved'
where queue_name = 'ended' and status = 'failed';
delete from procrastinate_jobs where queue_name = 'ended' and status = 'succeeded';
update procrastinate_jobs set status = 'todo' where queue_name = 'ended' and status = 'aborted';
select procrastinate_sweep_v1() \g /dev/null
select results_eq(
    $$
        select queue_name::text, todo::integer, succeeded::integer, failed::integer,
            cancelled::integer, aborted::integer
        from procrastinate_overview where queue_name in ('ended', 'moved') order by queue_name
    $$,
    $$values ('ended', 1, 0, 0, 1, 0), ('moved', 0, 0, 2, 0, 0)$$,
    'the numbers follow what is moved, deleted and retried, swept or not'
);
select is_sound();

select * from finish();
rollback;
