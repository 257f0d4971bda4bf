\ir ../../setup.psql
select plan(8);

select job from a_job() \gset
prepare it as select _procrastinate_refuse_abort(:job);
select throws_ok('it', '23514', null, 'a waiting job asked to abort violates a rule');
select is(
    error_of('execute it', 'constraint'), 'check_not_todo_abort_requested',
    'by the name that 3.x gave to it'
);
select matches(error_of('execute it', 'detail'), :'job', 'with the job');
select is(
    outcome_of(format($$update procrastinate_jobs set abort_requested = true where id = %s$$, :job)),
    '23514', 'an update is refused so'
);
select is(
    outcome_of(format(
        $$update procrastinate_jobs set abort_requested = true, status = 'doing' where id = %s$$, :job
    )),
    'ok', 'not of one that starts'
);
select is(
    outcome_of(format(
        $$update procrastinate_jobs set abort_requested = true, status = 'cancelled'
        where id = %s$$, (select job from a_job())
    )),
    'ok', 'nor of one that is cancelled'
);
select is(
    outcome_of($$insert into procrastinate_jobs (queue_name, task_name, lock, abort_requested)
        values ('q', 't', null, false), ('q', 't', 'l', true)$$),
    '23514', 'an insert is refused so too'
);
select is_sound();

select * from finish();
rollback;
