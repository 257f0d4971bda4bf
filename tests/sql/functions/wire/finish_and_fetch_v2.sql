\ir ../../setup.psql
select plan(20);

create function fixtures.ended(
    p_job bigint, p_claim bigint, p_worker bigint, p_status text, p_result jsonb, p_error jsonb default null,
    p_gone boolean default false
)
returns text
language sql volatile as $$
    select string_agg(e.outcome, ',')
    from procrastinate_finish_and_fetch_v2(
        p_worker, '{none}', 0, null, array[p_job], array[p_claim],
        array[p_status]::procrastinate_job_status[], array[p_gone], array[p_result], array[p_error]
    ) as e
$$;
create function fixtures.a_run(p_ttl interval, p_keep boolean default null, out job bigint, out claim bigint, out worker bigint)
language plpgsql volatile as $$
begin
    select a.job, a.claim, a.worker into job, claim, worker from a_job('doing') as a;
    update procrastinate_jobs set ttl = p_ttl, keep_result = p_keep where id = a_run.job;
end;
$$;

select * from a_run('1 min') \gset
select is(ended(:job, :claim + 1, :worker, 'succeeded', '1'), 'not_held,summary', 'another claim');
select is_empty('select from procrastinate_results', 'leaves nothing');
select is(ended(:job, :claim, :worker, 'succeeded', '{"a": 1}'), 'summary', 'a run ends');
select results_eq(
    'select job_id, result, status::text, expires_at from procrastinate_results',
    format(
        'values (%s::bigint, ''{"a": 1}''::jsonb, ''succeeded'', procrastinate_now() + interval ''1 min'')', :job
    ),
    'and its result is kept for its time'
);
select is(status_of(:job), 'succeeded', 'the job has its status');
select * from a_run(null) \gset
select ended(:job, :claim, :worker, 'succeeded', '1') \g /dev/null
select is_empty(format('select from procrastinate_results where job_id = %s', :job), 'without a ttl none is');
select * from a_run('0') \gset
select ended(:job, :claim, :worker, 'failed', null, '{"class": "E", "message": "m"}') \g /dev/null
select results_eq(
    format('select result, error, expires_at from procrastinate_results where job_id = %s', :job),
    $$values (null::jsonb, '{"class": "E", "message": "m"}'::jsonb, null::timestamptz)$$,
    'of a run that failed its error is'
);
select results_eq(
    format('select error from procrastinate_events where job_id = %s and type = ''failed''', :job),
    $$values ('E: m')$$, 'also in its history'
);

-- too large
set local procrastinate.max_result_size = '100';
select * from a_run('0') \gset
select is(
    ended(:job, :claim + 1, :worker, 'succeeded', to_jsonb(repeat('x', 200))), 'not_held,summary',
    'another claim with too large a result'
);
select is(
    ended(:job, :claim, :worker, 'succeeded', to_jsonb(repeat('x', 200))), 'summary,too_large',
    'a result that is too large is told'
);
select is(status_of(:job), 'failed', 'a result that is too large makes its job fail');
select matches(
    (select r.error ->> 'message' from procrastinate_results as r where r.job_id = :job),
    '^The result has 2.. bytes: at most 100 are allowed$', 'which says so'
);
select is(
    (select r.result from procrastinate_results as r where r.job_id = :job), null, 'and leaves none'
);
set local procrastinate.max_result_size = '';

-- deleted
select * from a_run('1 min') \gset
select ended(:job, :claim, :worker, 'succeeded', '1', null, true) \g /dev/null
select is_empty(format('select from procrastinate_results where job_id = %s', :job), 'a result goes with its job');
select * from a_run('1 min', true) \gset
select ended(:job, :claim, :worker, 'succeeded', '1', null, true) \g /dev/null
select results_eq(
    format('select status::text, result from procrastinate_get_result(%s)', :job),
    $$values ('succeeded', '1'::jsonb)$$, 'or outlives it, if wished'
);
select is_sound();

-- many
select a_worker() as worker \gset
select job as a, claim as ca from a_job('doing', p_worker => :worker, p_lock => 'x') \gset
select job as b, claim as cb from a_job('doing', p_worker => :worker) \gset
select job as next from a_job(p_lock => 'x') \gset
update procrastinate_jobs set ttl = '0' where id in (:a, :b);
select results_eq(
    format(
        $$select outcome, job_id from procrastinate_finish_and_fetch_v2(
            %s, '{q}', 1, null, array[%s, %s], array[%s, %s], '{succeeded,failed}', '{}',
            '{7}', array[null, '{"class": "E"}']::jsonb[])$$, :worker, :a, :b, :ca, :cb
    ),
    format('values (''claimed'', %s::bigint), (''summary'', null)', :next),
    'many end at once, and the next is claimed'
);
select results_eq(
    format('select job_id, result, error from procrastinate_results where job_id in (%s, %s) order by 1', :a, :b),
    format('values (%s::bigint, ''7''::jsonb, null::jsonb), (%s, null, ''{"class": "E"}'')', :a, :b),
    'each with what is its own'
);
select is(
    outcome_of(format(
        'select procrastinate_finish_and_fetch_v2(%s, null, 0, null, ''{}'', ''{}'', ''{}'', ''{}'', %s)',
        :worker, r.arguments
    )),
    'PQ003', r.why
)
from (
    values ($$'{1}', '{}'$$, 'a result of no job'), ($$'{}', array['{}']::jsonb[]$$, 'an error of no job')
) as r (arguments, why);

select * from finish();
rollback;
