\ir ../setup.psql
select plan(13);

insert into procrastinate_jobs (queue_name, task_name) values ('q', 't') returning id as job \gset
select results_eq(
    format($$
        select priority, lock, queueing_lock, args, status::text, scheduled_at, attempts,
            abort_requested, worker_id
        from procrastinate_jobs where id = %s
    $$, :job),
    $$values (0, null::text, null::text, '{}'::jsonb, 'todo', null::timestamptz, 0, false,
        null::bigint)$$,
    'a job of 3.x has the defaults of 3.x'
);
select is(
    (
        select count(*)
        from procrastinate_jobs as j
        cross join lateral jsonb_each(to_jsonb(j)) as c
        where j.id = :job and c.value <> 'null'
    ),
    8::bigint, 'what 3.x does not know costs a row nothing'
);
select is(outcome_of(format('insert into procrastinate_jobs (%s)', i.rest)), i.code, i.why)
from (
    values
        ('queue_name) values (''q''', '23502', 'a task is needed'),
        ('task_name) values (''t''', '23502', 'a queue is needed'),
        ('queue_name, task_name) values (repeat(''q'', 129), ''t''', '22001', 'not too long'),
        ('queue_name, task_name) values (''q'', repeat(''t'', 129)', '22001', 'both of them'),
        ('queue_name, task_name, args) values (''q'', ''t'', null', '23502', 'arguments'),
        ('queue_name, task_name, priority) values (''q'', ''t'', null', '23502', 'a priority'),
        ('queue_name, task_name, status) values (''q'', ''t'', ''done''', '22P02', 'a status'),
        ('queue_name, task_name, abort_requested) values (''q'', ''t'', true', '23514',
            'a waiting job is not asked to abort'),
        ('queue_name, task_name, abort_requested, status) values (''q'', ''t'', true, ''doing''',
            'ok', 'a running one is')
) as i (rest, code, why);
select is(
    error_of(
        $$insert into procrastinate_jobs (queue_name, task_name, abort_requested)
        values ('q', 't', true)$$, 'constraint'
    ),
    'check_not_todo_abort_requested', 'by the name of 3.x'
);
create table fixtures.notes (job_id bigint references procrastinate_jobs on delete cascade);
insert into fixtures.notes values (:job);
select is(
    outcome_of(format('update procrastinate_jobs set priority = 1 where id = %s', :job)), 'ok',
    'a user''s foreign key may refer to a job'
);

select * from finish();
rollback;
