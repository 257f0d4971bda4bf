\ir ../../setup.psql
select plan(22);

create function fixtures.told(p_job bigint, p_claim bigint, p_worker bigint, p_progress double precision, p_meta jsonb)
returns text
language sql volatile as $$
    select u.outcome
    from procrastinate_update_jobs_v1(p_worker, array[p_job], array[p_claim], array[p_progress], array[p_meta]) as u
$$;
select job, claim, worker from a_job('doing') \gset
select is(told(:job, :claim, :worker, 0.5, null), 'updated', 'a run tells how far it is');
select is(told(:job, :claim, :worker, null, '{"a": 1}'), 'updated', 'and what else there is');
select results_eq(
    'select job_id, progress, meta, status::text from procrastinate_results',
    format('values (%s::bigint, 0.5::double precision, ''{"a": 1}''::jsonb, null)', :job),
    'null keeps what was told'
);
select is(told(:job, :claim + 1, :worker, 1, null), 'not_held', 'another claim has no say');
select is(told(:job, :claim, a_worker(), 1, null), 'not_held', 'nor has another worker');
select is(
    (select r.progress from procrastinate_results as r), 0.5::double precision, 'it changes nothing'
);
select is(
    (select d.heartbeat_at from procrastinate_doing as d where d.job_id = :job), null,
    'a job without a heartbeat has no time to keep'
);
update procrastinate_jobs set heartbeat = '5 s' where id = :job;
select travel('1 min') \g /dev/null
select told(:job, :claim, :worker, null, null) \g /dev/null
select is(
    (select d.heartbeat_at from procrastinate_doing as d where d.job_id = :job),
    procrastinate_now() + interval '5 s', 'one with a heartbeat lives on'
);
select is(
    (select r.updated_at from procrastinate_results as r), procrastinate_now() - interval '1 min',
    'telling nothing is no news'
);
select results_eq(
    format($$select * from procrastinate_update_jobs_v1(
        %s, array[%s, -1, %s], array[%s, 1, %s], '{0.6,0.1,0.7}', '{}')$$, :worker, :job, :job, :claim, :claim),
    format('values (%s::bigint, ''updated''), (-1, ''not_held''), (%s, ''updated'')', :job, :job),
    'many are told at once'
);
select results_eq(
    'select progress, meta from procrastinate_results',
    $$values (0.7::double precision, '{"a": 1}'::jsonb)$$, 'of one job''s the last counts, and what is not told stays'
);
select job as other, claim as other_claim from a_job('doing', p_worker => :worker) \gset
select job as third from a_job('doing', p_worker => :worker) \gset
update procrastinate_jobs set heartbeat = '5 s' where id in (:other, :third);
select travel('1 min') \g /dev/null
select is(
    array(select u.outcome from procrastinate_update_jobs_v1(
        :worker, array[:job, :other], array[:claim, :other_claim], '{}', '{}') as u),
    '{updated,updated}', 'several live on at once'
);
select results_eq(
    'select job_id, (heartbeat_at > procrastinate_now()) is true from procrastinate_doing order by job_id',
    format('values (%s::bigint, true), (%s, true), (%s, false)', :job, :other, :third),
    'each of them, and nobody else'
);
select procrastinate_unregister_worker_v2(:worker) \g /dev/null
select is(told(:job, :claim, :worker, 0.9, null), 'updated', 'a worker that was pruned still has its claims');
select is(
    outcome_of(format('select procrastinate_update_jobs_v1(%s)', r.arguments)), 'PQ003', r.why
)
from (
    values
        ($$null, '{1}', '{1}', '{}', '{}'$$, 'a worker has an id'),
        ($$1, '{1}', '{}', '{}', '{}'$$, 'a job has a claim'),
        ($$1, '{1}', '{null}', '{}', '{}'$$, 'that is not null')
) as r (arguments, why);
select is(
    outcome_of(format('select told(%s, %s, %s, %s)', :job, :claim, :worker, r.arguments)), 'PQ003', r.arguments
)
from (values ('1.1, null'), ('-0.1, null'), ('''NaN'', null'), ('null, ''[]''')) as r (arguments);
select is_sound();

select * from finish();
rollback;
