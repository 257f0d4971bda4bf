\ir ../../setup.psql
select plan(3);

select job, worker from a_job('doing', p_queue_name => 'mail', p_task_name => 'send') \gset
select is(
    _procrastinate_describe_job(:job),
    format('Job %s (send on queue mail) is doing, with 0 attempts, worker %s.', :job, :worker),
    'a job in a sentence'
);
select job from a_job() \gset
select is(
    _procrastinate_describe_job(:job),
    format('Job %s (a_task on queue q) is todo, with 0 attempts.', :job), 'without a worker'
);
select is(_procrastinate_describe_job(-1), 'There is no job -1.', 'or that there is none');

select * from finish();
rollback;
