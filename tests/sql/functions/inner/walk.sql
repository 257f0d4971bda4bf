\ir ../../setup.psql
select plan(4);

-- through fetch_jobs: tests/sql/functions/wire/fetch_jobs_v1.sql; here the marks that it raises
select a_worker() as worker \gset
insert into procrastinate_jobs (id, queue_name, task_name, priority, lock) values
    (901, 'q', 't', 5, null), (902, 'q', 't', 0, null), (903, 'q', 't', 0, 'l'),
    (904, 'q', 't', 0, 'l'), (905, 'q', 't', 0, null);
select results_eq(
    format($$
        select o_job_ids, p_fresh, o_contended, o_more
        from _procrastinate_walk(%s, '{q,q}', '{5,0}', '{0,0}', '{0,0}', 3, null)
    $$, :worker),
    $$values ('{901,902,903}'::bigint[], '{902,904}'::bigint[], false, false)$$,
    'the highest priority first, so many, and marks behind what was claimed'
);
select results_eq(
    format($$
        select o_job_ids, p_fresh, o_contended, o_more
        from _procrastinate_walk(%s, '{q,q}', '{5,0}', '{902,904}', '{0,0}', 3, null)
    $$, :worker),
    $$values ('{905}'::bigint[], '{902,906}'::bigint[], false, false)$$,
    'what its lock holds back is parked and passed'
);
select is(derived(904), 'todo:blocked', 'until it is promoted');
select is_sound();

select * from finish();
rollback;
