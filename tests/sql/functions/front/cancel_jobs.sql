\ir ../../setup.psql
select plan(22);

create function fixtures.waits(p_queue text, p_lock text default null)
returns bigint language sql as
$$select a.job from a_job(p_queue_name => p_queue, p_lock => p_lock) as a$$;

select waits('one') as a, waits('one') as b, waits('other') as c \gset
select job as runs from a_job('doing', p_queue_name => 'one') \gset
select results_eq(
    $$select job_id, outcome from procrastinate_cancel_jobs('one')$$,
    format($$values (%s::bigint, 'cancelled'), (%s, 'cancelled')$$, :a, :b),
    'the waiting jobs of a queue are cancelled'
);
select is(
    array[status_of(:a), status_of(:c), status_of(:runs)], '{cancelled,todo,doing}',
    'those of another are left, and what runs'
);
select is(events_of(:a), '{deferred,cancelled}', 'as by one cancel each');
select results_eq(
    $$select outcome from procrastinate_cancel_jobs('other', dry_run => true)$$,
    $$values ('matched')$$, 'a dry run tells what would be'
);
select is(status_of(:c), 'todo', 'and does nothing');

select waits('one') as a \gset
select results_eq(
    $$select job_id, outcome from procrastinate_cancel_jobs('one', abort => true)$$,
    format($$values (%s::bigint, 'abort_requested'), (%s, 'cancelled')$$, :runs, :a),
    'what runs is asked to abort, if that is wanted'
);
select is(events_of(:runs), '{deferred,started,abort_requested}', 'which is in its history');
select job as runs from a_job('doing', p_queue_name => 'status') \gset
select waits('status') as a \gset
select procrastinate_cancel_jobs('status', status => 'doing', abort => true) \g /dev/null
select is(
    array[status_of(:a), (select abort_requested::text from procrastinate_jobs where id = :runs)],
    '{todo,true}', 'or that alone'
);

select waits('delete') as a \gset
select job as runs from a_job('doing', p_queue_name => 'delete') \gset
select results_eq(
    $$select job_id, outcome from procrastinate_cancel_jobs('delete', delete_jobs => true, abort => true)$$,
    format($$values (%s::bigint, 'deleted'), (%s, 'abort_requested')$$, :a, :runs),
    'what waits may be deleted instead'
);
select is(status_of(:a), null, 'and is gone');
select is(events_of(:a), '{}', 'with its history');

-- The head of a lock among them
select waits('head', 'l') as head, waits('behind', 'l') as behind \gset
select fetched('{behind}') \g /dev/null
select is(derived(:behind), 'todo:blocked', 'a job waits behind another of its lock');
select procrastinate_cancel_jobs('head') \g /dev/null
select is(derived(:behind), 'todo:ready', 'until that is cancelled with many');

select count(waits('batch')) from generate_series(1, 5) \g /dev/null
select max(job_id) as last from procrastinate_cancel_jobs('batch', max_jobs => 3) \gset
select is(
    (select count(*) from procrastinate_cancel_jobs('batch', after_id => :last)), 2::bigint,
    'a call cancels so many, the next one goes on from there'
);

select is(
    outcome_of(format('select procrastinate_cancel_jobs(%s)', r.arguments)), 'PQ003', r.why
)
from (
    values
        ('', 'without a filter nothing is cancelled'),
        ('abort => true', 'nor asked to abort'),
        ('''q'', status => ''doing''', 'what runs cannot be cancelled'),
        ('''q'', status => ''failed''', 'nor what has ended'),
        ('''q'', max_jobs => 0', 'a number of jobs is needed')
) as r (arguments, why);
select procrastinate_cancel_jobs(all_jobs => true) \g /dev/null
select is_empty('select from procrastinate_todo', 'all may be asked for');
select is(
    outcome_of($$select procrastinate_cancel_jobs('q', status => 'done')$$), '22P02',
    'an unknown status is none'
);
select is_sound('many cancels leave the derived tables true');

select * from finish();
rollback;
