\ir ../../setup.psql
select plan(3);

select a_job('doing', p_lock => 'one') \g /dev/null
select a_job(p_lock => 'one') \g /dev/null
select is(
    outcome_of($$select _procrastinate_refuse_held('{one,none}')$$), 'ok', 'one holder is as it should be'
);
insert into procrastinate_doing (job_id, priority, lock) values (-1, 0, 'one');
select is(
    error_of($$select _procrastinate_refuse_held('{none,one}')$$, 'constraint'),
    'procrastinate_jobs_lock_idx_v1', 'two are refused'
);
select is(outcome_of($$select _procrastinate_refuse_held('{none}')$$), 'ok', 'of these locks only');

select * from finish();
rollback;
