\ir ../../setup.psql
select plan(7);

-- the whole of it, with migrations: tests/python/schema/test_removals.py
set local procrastinate.now = '2030-01-01 12:00:00Z';
select procrastinate_register_worker_v2('asleep', null, '{"wire": ["set_quiet_v1"]}') as asleep,
    procrastinate_register_worker_v2('other', null, '{"wire": ["sweep_v1"]}') as other \gset
select job from a_job('doing', p_worker => :asleep) \gset
select throws_ok(
    $$select _procrastinate_refuse_removal('{set_quiet_v1,nothing_v1}')$$, 'PQ008',
    format('What this migration removes is needed by 1 live workers: '
        'worker %s (asleep, version unknown) calls set_quiet_v1', :asleep),
    'who needs it is named'
);
select lives_ok(
    $$select _procrastinate_refuse_removal('{nothing_v1}')$$, 'what nobody needs may go'
);
select is((select count(*) from procrastinate_workers), 2::bigint, 'and nobody with it');

set local procrastinate.now = '2030-01-01 12:00:31Z';
select lives_ok(
    $$select _procrastinate_refuse_removal('{set_quiet_v1}')$$, 'a dead worker needs nothing'
);
select results_eq(
    'select id from procrastinate_workers', format('values (%s::bigint)', :other),
    'its row goes, for it may wake up: then it has to register; the row of another stays'
);
select is(
    (select worker_id from procrastinate_jobs where id = :job), null,
    'and its jobs wait for a recovery'
);
select is_sound();

select * from finish();
rollback;
