\ir ../../setup.psql
select plan(14);

create function fixtures.a_run(
    p_timeout interval, p_heartbeat interval, p_idle interval default '1 h', p_most integer default null,
    out job bigint
)
language plpgsql volatile as $$
begin
    job := procrastinate_defer_job('q', 't', timeout => p_timeout, heartbeat => p_heartbeat, max_attempts => p_most);
    update procrastinate_jobs set status = 'doing', worker_id = a_worker(p_idle) where id = job;
end;
$$;
select job as none from a_run(null, null) \gset
select job as late from a_run('10 s', null) \gset
select job as silent from a_run('1 h', '10 s', p_most => 2) \gset
select job as well from a_run('1 h', '1 min') \gset
select job as held from a_run('10 s', '10 s', '0') \gset
select is_empty($$select procrastinate_expire_jobs_v1('30 s')$$, 'nobody is late');
select travel('20 s') \g /dev/null
select results_eq(
    $$select * from procrastinate_expire_jobs_v1('30 s')$$,
    format(
        'values (%s::bigint, ''failed'', ''failed''::procrastinate_job_status), (%s, ''retried'', ''todo'')',
        :late, :silent
    ),
    'who is past its time ends, or is tried again, as its data says'
);
select results_eq(
    format('select error from procrastinate_events where job_id in (%s, %s) and error is not null order by job_id', :late, :silent),
    $$values
        ('JobTimeout: Its timeout has passed, and its worker is gone or silent'),
        ('JobTimeout: Its heartbeat has passed, and its worker is gone or silent')$$,
    'its history says why'
);
select is(status_of(:none), 'doing', 'a job without a time has all of it');
select is(status_of(:well), 'doing', 'and one in time what is left');
select is(status_of(:held), 'doing', 'a worker that lives ends its own');
select travel('1 h') \g /dev/null
update procrastinate_workers set last_heartbeat = procrastinate_now();
select is_empty($$select procrastinate_expire_jobs_v1('30 s')$$, 'whatever it did before');
update procrastinate_jobs set worker_id = null where id = :well;
select results_eq(
    $$select job_id from procrastinate_expire_jobs_v1('30 s')$$, format('values (%s::bigint)', :well),
    'a worker that is gone does not'
);
select job from a_run('1 s', null) \gset
select job as b from a_run('1 s', null) \gset
select travel('2 s') \g /dev/null
select results_eq(
    $$select job_id from procrastinate_expire_jobs_v1('30 s', 1)$$, format('values (%s::bigint)', :job),
    'so many at most'
);
select is_sound();
select is(outcome_of('select procrastinate_expire_jobs_v1(' || r.arguments || ')'), 'PQ003', r.why)
from (
    values ('null', 'an age is needed'), ('''-1 s''', 'not less than none'), ('''1 s'', 0', 'and a number'),
        ('''1 s'', null', 'which is not null')
) as r (arguments, why);

select * from finish();
rollback;
