\ir ../../setup.psql
select plan(3);

select job as plain from a_job() \gset
select procrastinate_defer_job(
    'q', 't', timeout => '1.5 s', heartbeat => '1 min', ttl => '-1 s', max_attempts => 3,
    retry_delay => '2 s', retry_backoff => 2, retry_delay_cap => '90 s', retry_jitter => true,
    key => 'k', group_key => 'g', keep_result => false
) as full \gset
select procrastinate_defer_job('q', 't', ttl => '1 h') as kept \gset
select is(
    (select _procrastinate_options_of(j) from procrastinate_jobs as j where j.id = :plain), '{}',
    'a job without options has none'
);
select is(
    (select _procrastinate_options_of(j) from procrastinate_jobs as j where j.id = :full),
    '{
        "timeout": 1.5, "heartbeat": 60, "ttl": -1, "max_attempts": 3, "retry_delay": 2,
        "retry_backoff": 2, "retry_delay_cap": 90, "retry_jitter": true, "key": "k",
        "group_key": "g", "keep_result": false
    }',
    'it has them with seconds as numbers'
);
select is(
    (select _procrastinate_options_of(j)::text from procrastinate_jobs as j where j.id = :kept),
    '{"ttl": 3600}', 'and only those that it has'
);

select * from finish();
rollback;
