\ir ../../setup.psql
select plan(9);

select a_worker('10 s') as alive, a_worker('30 s') as edge, a_worker('31 s') as dead \gset
select a_worker('1 year') as long_dead \gset
select job, claim from a_job('doing', p_worker => :dead, p_lock => 'l') \gset
select job as running from a_job('doing', p_worker => :alive) \gset
select results_eq(
    $$select procrastinate_prune_workers_v1('30 seconds') as id order by id$$,
    format('values (%s::bigint), (%s)', :dead, :long_dead),
    'workers with an older heartbeat go, and are named'
);
select set_eq(
    'select id from procrastinate_workers', format('values (%s::bigint), (%s)', :alive, :edge),
    'the others stay'
);
select is_empty($$select procrastinate_prune_workers_v1('30 seconds')$$, 'once');
select results_eq(
    format('select id, status::text, worker_id from procrastinate_jobs where id in (%s, %s)'
        ' order by id', :job, :running),
    format($$values (%s::bigint, 'doing', null::bigint), (%s, 'doing', %s)$$,
        :job, :running, :alive),
    'a dead worker''s job stays in doing, without a worker'
);
select is(
    (select claim_id from procrastinate_doing where job_id = :job), :claim::bigint,
    'its claim holds on: a worker that was only slow may still end it'
);
select is_sound('a prune leaves the derived tables true');
select travel('10 min') \g /dev/null
select set_eq(
    $$select procrastinate_prune_workers_v1('0')$$,
    format('values (%s::bigint), (%s)', :alive, :edge),
    'age is told by the clock of the queue'
);
select is(
    outcome_of('select procrastinate_prune_workers_v1(null)'), 'PQ003', 'an age is not null'
);
select is(
    outcome_of($$select procrastinate_prune_workers_v1('-1 s')$$), 'PQ003', 'nor negative'
);

select * from finish();
rollback;
