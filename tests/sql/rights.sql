\ir setup.psql
select plan(49);

create function fixtures.callable(p_role text) returns text[] language sql stable as $$
    select array_agg(p.proname::text order by p.proname)
    from pg_proc as p
    where p.pronamespace = current_schema()::regnamespace
        and has_function_privilege(p_role, p.oid, 'execute')
$$;

-- A stranger ---------------------------------------------------------------------------------------------

select a_role() as stranger \gset
select job from a_job() \gset
select is(
    callable(:'stranger'),
    array['_procrastinate_derives'],
    'a stranger may call nothing but what the trigger of its own UPDATE asks'
);
select is(outcome_of(s, :'stranger'), '42501', 'nor ' || s)
from unnest(array[
    'select from procrastinate_jobs', 'select from procrastinate_events',
    'select from procrastinate_todo', 'select from procrastinate_doing',
    'select from procrastinate_workers', 'select from procrastinate_queues',
    'select from procrastinate_overview', 'select from procrastinate_locks',
    'select from procrastinate_stalled', 'select from procrastinate_check()',
    'insert into procrastinate_jobs (queue_name, task_name) values (''q'', ''t'')',
    'update procrastinate_jobs set status = ''cancelled''',
    'delete from procrastinate_jobs', 'truncate procrastinate_jobs',
    'select procrastinate_defer_job(''q'', ''t'')', 'select procrastinate_pause_queue(''q'')',
    'select procrastinate_register_worker_v2()', 'select nextval(''procrastinate_jobs_id_seq'')',
    'select _procrastinate_take_locks(''{a}'')'
]) as s;

-- Who is granted one function (docs/sql.md) --------------------------------------------------------------------

select a_role('one_function') as producer \gset
grant execute on function procrastinate_defer_job to :producer;
select is(
    outcome_of(
        'select procrastinate_defer_job(''q'', ''t'', 1, ''l'', ''ql'', ''{}'', ''2999-01-01Z'')',
        :'producer'
    ),
    'ok', 'a producer defers'
);
select is(
    outcome_of('select procrastinate_defer_job(''q'', ''t'', queueing_lock => ''ql'')',
        :'producer'),
    '23505', 'and hears of a queueing lock that is taken'
);
select is(
    outcome_of('select procrastinate_defer_job('''', ''t'')', :'producer'), 'PQ003',
    'or of what is wrong with an argument'
);
select is(outcome_of(s, :'producer'), '42501', 'it may not ' || s)
from unnest(array[
    'select args from procrastinate_jobs', 'select from procrastinate_todo',
    'select id from procrastinate_jobs', 'insert into procrastinate_jobs default values',
    'select procrastinate_cancel_job(1)', 'update procrastinate_jobs set priority = 1'
]) as s;

-- Who works and is on call: all functions, and the tables ----------------------------------------------------

select a_role('operator') as operator, current_schema() as schema \gset
grant execute on all functions in schema :"schema" to :operator;
grant select, insert, update, delete on all tables in schema :"schema" to :operator;
grant usage, select on all sequences in schema :"schema" to :operator;
select is(outcome_of(s, :'operator'), 'ok', 'an operator may ' || s)
from unnest(array[
    'select procrastinate_defer_job(''q'', ''t'')', 'select procrastinate_cancel_job(1)',
    'select procrastinate_abort_job(1)', 'select procrastinate_pause_queue(''q'')',
    'select procrastinate_resume_queue(''q'')',
    format('select procrastinate_reschedule_job(%s, null)', :job),
    format('select procrastinate_explain_job(%s)', :job),
    format('select procrastinate_retry_job(%s)', :job),
    'select procrastinate_purge_jobs(''1 day'')', 'select procrastinate_prune_stalled_workers()',
    'select procrastinate_recover_stalled_jobs()', 'select procrastinate_check()',
    'select procrastinate_version()', 'select procrastinate_sweep_v1()',
    'select from procrastinate_overview', 'select from procrastinate_locks',
    'select from procrastinate_stalled',
    'select f.outcome from procrastinate_register_worker_v2() as w,
        lateral procrastinate_fetch_jobs_v1(w, null, 10) as f',
    'select h.job_id from procrastinate_register_worker_v2() as w,
        lateral procrastinate_heartbeat_v1(w) as h'
]) as s;
select is_sound();

select * from finish();
rollback;
