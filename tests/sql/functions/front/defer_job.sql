\ir ../../setup.psql
select plan(35);

select procrastinate_defer_job('mail', 'send') as job \gset
select results_eq(
    format($$
        select
            queue_name::text, task_name::text, priority, lock, queueing_lock, args,
            scheduled_at, status::text, attempts, abort_requested, worker_id
        from procrastinate_jobs where id = %s
    $$, :job),
    $$values (
        'mail', 'send', 0, null, null, '{}'::jsonb, null::timestamptz, 'todo', 0, false,
        null::bigint
    )$$,
    'a queue and a task are enough'
);
select is(events_of(:job), '{deferred}', 'with its event');
select is(fetched('{mail}'), array[:job]::bigint[], 'a worker gets it');

select procrastinate_defer_job('q', 't', 5, 'l', 'ql', '{"a": [1]}', '2999-01-01Z') as job \gset
select results_eq(
    format($$
        select queue_name::text, task_name::text, priority, lock, queueing_lock, args, scheduled_at
        from procrastinate_jobs where id = %s
    $$, :job),
    $$values ('q', 't', 5, 'l', 'ql', '{"a": [1]}'::jsonb, '2999-01-01Z'::timestamptz)$$,
    'by position, in the order of 2.x'
);
select procrastinate_defer_job(
    task_name => 't', queue_name => 'q', scheduled_at => '2999-01-01Z', args => '{"a": [1]}',
    queueing_lock => 'ql2', lock => 'l', priority => 5
) as job \gset
select results_eq(
    format($$
        select queue_name::text, task_name::text, priority, lock, queueing_lock, args, scheduled_at
        from procrastinate_jobs where id = %s
    $$, :job),
    $$values ('q', 't', 5, 'l', 'ql2', '{"a": [1]}'::jsonb, '2999-01-01Z'::timestamptz)$$,
    'or by name, in any order'
);
select procrastinate_defer_job('q', 't', null, null, null, null, null) as job \gset
select results_eq(
    format('select priority, args from procrastinate_jobs where id = %s', :job),
    $$values (0, '{}'::jsonb)$$, 'null is the default'
);
select results_eq(
    $$
        select pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)
        from pg_proc as p where p.oid = 'procrastinate_defer_job'::regproc
    $$,
    $$values (
        'queue_name text, task_name text, priority integer DEFAULT 0, lock text DEFAULT NULL::text,'
        ' queueing_lock text DEFAULT NULL::text, args jsonb DEFAULT ''{}''::jsonb,'
        ' scheduled_at timestamp with time zone DEFAULT NULL::timestamp with time zone,'
        ' timeout interval DEFAULT NULL::interval, heartbeat interval DEFAULT NULL::interval,'
        ' ttl interval DEFAULT NULL::interval, max_attempts integer DEFAULT NULL::integer,'
        ' retry_delay interval DEFAULT NULL::interval,'
        ' retry_backoff double precision DEFAULT NULL::double precision,'
        ' retry_delay_cap interval DEFAULT NULL::interval,'
        ' retry_jitter boolean DEFAULT NULL::boolean, key text DEFAULT NULL::text,'
        ' group_key text DEFAULT NULL::text, keep_result boolean DEFAULT NULL::boolean',
        'bigint'
    )$$,
    'its signature is for ever'
);

select is(
    error_of($$select procrastinate_defer_job('q', 't', queueing_lock => 'ql')$$, 'constraint'),
    'procrastinate_jobs_queueing_lock_idx_v1', 'a queueing lock that is taken refuses the job'
);
select is(
    error_of($$select procrastinate_defer_job('q', 't', queueing_lock => 'ql')$$, 'detail'),
    'Key (queueing_lock)=(ql) already exists.', 'and is named'
);

select is(
    outcome_of(format('select procrastinate_defer_job(%s)', r.arguments)), r.code, r.why
)
from (
    values
        ('null, ''t''', 'PQ003', 'a job has a queue'),
        ('''q'', null', 'PQ003', 'and a task'),
        (''''', ''t''', 'PQ003', 'neither is empty'),
        ('''q'', ''''', 'PQ003', 'neither'),
        ('repeat(''q'', 40), ''t''', 'ok', 'a queue name of 40 bytes'),
        ('repeat(''q'', 41), ''t''', 'ok', 'of 41, where 3.x failed'),
        ('repeat(''é'', 21), ''t''', 'ok', 'of 21 characters and 42 bytes'),
        ('repeat(''🐘'', 128), ''t''', 'ok', 'of 128 characters and 512 bytes'),
        ('repeat(''q'', 129), ''t''', 'PQ003', 'but not of 129'),
        ('''q'', repeat(''🐘'', 128)', 'ok', 'a task name of 128 characters'),
        ('''q'', repeat(''t'', 129)', 'PQ003', 'but not of 129'),
        ('''q'', ''t'', args => ''[]''', 'PQ003', 'arguments are no array'),
        ('''q'', ''t'', args => ''1''', 'PQ003', 'no number'),
        ('''q'', ''t'', args => ''null''', 'PQ003', 'no JSON null'),
        ('''q'', ''t'', args => ''{''', '22P02', 'and JSON at all'),
        ('''q'', ''t'', args => ''{"a": "\u0000"}''', '22P05', 'which PostgreSQL can store'),
        ('''q'', ''t'', priority => 2147483648', '42883', 'a priority is an integer'),
        ('''q'', ''t'', priority => -2147483648', 'ok', 'of any size'),
        ('''q'', ''t'', lock => repeat(''x'', 2000)', 'ok', 'a lock may be long'),
        ('''q'', ''t'', lock => '''', queueing_lock => ''''', 'ok', 'or empty'),
        ('''q'', ''t'', scheduled_at => ''infinity''', 'ok', 'never is a time')
) as r (arguments, code, why);
select matches(
    error_of($$select procrastinate_defer_job(repeat('q', 129), 't')$$), 'queue name.*129',
    'the message says what is wrong with which name'
);
select isnt(
    error_of($$select procrastinate_defer_job(repeat('q', 129), 't')$$, 'hint'), '',
    'the hint what to do'
);
select is_sound('whatever was deferred, the derived tables are true');

-- Who may -----------------------------------------------------------------------------------------------

select a_role() as stranger \gset
select is(
    outcome_of($$select procrastinate_defer_job('q', 't')$$, :'stranger'), '42501',
    'not everybody may defer'
);
grant execute on function procrastinate_defer_job to :stranger;
grant insert on procrastinate_jobs to :stranger;
grant select (id) on procrastinate_jobs to :stranger;
grant usage on sequence procrastinate_jobs_id_seq to :stranger;
select is(
    outcome_of(
        $$select procrastinate_defer_job('q', 't', 3, 'l', 'stranger', '{}', '2999-01-01Z')$$,
        :'stranger'
    ),
    'ok', 'a role that was given the function and INSERT into jobs may'
);

select * from finish();
rollback;
