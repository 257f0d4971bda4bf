\ir ../../setup.psql
select plan(4);

select a_worker('29 s') as alive, a_worker('31 s') as dead \gset
select job from a_job('doing', p_worker => :dead) \gset
select set_eq(
    'select procrastinate_prune_stalled_workers()', format('values (%s::bigint)', :dead),
    'workers that were silent for 30 seconds are removed'
);
select is(status_of(:job), 'doing', 'what they ran is left for recovery');
select set_eq(
    $$select procrastinate_prune_stalled_workers(older_than => '10 s')$$,
    format('values (%s::bigint)', :alive), 'another age may be given'
);
select is(
    outcome_of('select procrastinate_prune_stalled_workers(null)'), 'PQ003', 'but not null'
);

select * from finish();
rollback;
