\ir ../../setup.psql
select plan(4);

set local procrastinate.now = '2030-01-01 12:00:00Z';
select procrastinate_register_worker_v2('one', null, '{
    "wire": ["fetch_jobs_v1", "heartbeat_v1"],
    "procrastinate": "4.0", "hostname": "a", "pid": 7
}') as one \gset
select procrastinate_register_worker_v2('two', null, '{"wire": ["fetch_jobs_v1"]}') as two \gset
select procrastinate_register_worker_v2() as silent \gset
set local procrastinate.now = '2030-01-01 12:00:30Z';

select results_eq(
    $$select worker_id, functions, sentence
    from _procrastinate_needing('{heartbeat_v1,fetch_jobs_v1,nothing_v1}')$$,
    format($$values
        (%s::bigint, '{fetch_jobs_v1,heartbeat_v1}'::text[],
            'worker %1$s (one, version 4.0, host a, process 7) calls '
            'fetch_jobs_v1, heartbeat_v1'),
        (%s, '{fetch_jobs_v1}', 'worker %2$s (two, version unknown) calls fetch_jobs_v1'),
        (%s, '{fetch_jobs_v1,heartbeat_v1,nothing_v1}',
            'worker %3$s (version unknown) calls fetch_jobs_v1, heartbeat_v1, nothing_v1')$$,
        :one, :two, :silent),
    'each worker with what it calls; who does not say, calls all'
);
select results_eq(
    $$select worker_id from _procrastinate_needing('{heartbeat_v1}')$$,
    format('values (%s::bigint), (%s)', :one, :silent), 'and nobody who does not'
);
select ok(
    (select bool_and(alive) from _procrastinate_needing('{fetch_jobs_v1}')),
    'a heartbeat of 30 seconds ago is one of a worker that lives'
);
set local procrastinate.now = '2030-01-01 12:00:30.001Z';
select ok(
    (select bool_and(not alive) from _procrastinate_needing('{fetch_jobs_v1}')),
    'one that is older is not'
);

select * from finish();
rollback;
