\ir ../../setup.psql
select plan(3);

select job as a from a_job(p_lock => 'a') \gset
select job as b from a_job(p_lock => 'b') \gset
select lives_ok(
    format('select _procrastinate_lock_jobs(array[%s, %s, -1], ''{c,null}'')', :b, :a),
    'jobs, and the locks that they have or get'
);
select ok(
    (
        select bool_and(exists (
            select
            from pg_locks as l
            where
                l.locktype = 'advisory' and l.pid = pg_backend_pid()
                and (l.classid::bigint << 32 | l.objid::bigint) = _procrastinate_lock_key(k)
        ))
        from unnest('{a,b,c}'::text[]) as k
    ),
    'have their keys taken'
);
select lives_ok($$select _procrastinate_lock_jobs('{}', '{}')$$, 'none, none');

select * from finish();
rollback;
