\ir ../../setup.psql
select plan(6);

-- through fetch_jobs: tests/sql/functions/wire/fetch_jobs_v1.sql; here the marks that it raises
insert into procrastinate_jobs (id, queue_name, task_name, priority, lock) values
    (901, 'q', 't', 5, null), (902, 'q', 't', 0, null), (903, 'q', 't', 0, 'l'),
    (904, 'q', 't', 0, 'l'), (905, 'q', 't', 0, null);
select results_eq(
    $$
        select p_job_ids, p_fresh, o_contended, o_more
        from _procrastinate_walk('{q,q}', '{5,0}', '{0,0}', null, '{0,0}', '{}', 3, null)
    $$,
    $$values ('{901,902,903}'::bigint[], '{902,904}'::bigint[], false, false)$$,
    'the highest priority first, so many, and marks behind what was picked'
);
select results_eq(
    $$
        select p_job_ids, p_fresh, o_contended, o_more
        from _procrastinate_walk(
            '{q,q}', '{5,0}', '{0,0}', null, '{0,0}', '{901,902,903}', 4, null
        )
    $$,
    $$values ('{901,902,903,905}'::bigint[], '{0,906}'::bigint[], false, false)$$,
    'what was picked before is passed'
);
select is(derived(904), 'todo:blocked', 'what its lock holds back is parked');
update procrastinate_todo set state = 'r' where job_id = 904;
update procrastinate_jobs set status = 'doing' where id in (901, 902, 903);
select results_eq(
    $$
        select p_job_ids, p_fresh, o_contended, o_more
        from _procrastinate_walk('{q,q}', '{5,0}', '{902,904}', null, '{0,0}', '{}', 3, null)
    $$,
    $$values ('{905}'::bigint[], '{902,906}'::bigint[], false, false)$$,
    'and passed'
);
select results_eq(
    $$
        select p_job_ids, p_fresh
        from _procrastinate_walk('{q,q}', '{5,0}', '{0,0}', '{950,960}', '{0,0}', '{}', 1, null)
    $$,
    $$values ('{905}'::bigint[], '{950,906}'::bigint[])$$,
    'a line that was read to its end has the mark that it had'
);
select is_sound();

select * from finish();
rollback;
