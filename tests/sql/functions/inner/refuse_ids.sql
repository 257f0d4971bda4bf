\ir ../../setup.psql
select plan(8);

select job from a_job(p_lock => 'still') \gset
select is(
    outcome_of(format('update procrastinate_jobs set id = id + 1000000 where id = %s', :job)),
    'PQ006', 'the id of a job does not change'
);
select is(
    outcome_of(format('update procrastinate_jobs set id = id, priority = 3 where id = %s', :job)),
    'ok', 'to set it to what it is, as ORMs do, is no change'
);
select matches(
    error_of(format('update procrastinate_jobs set id = 0 where id = %s', :job)),
    :'job', 'the refusal names the job'
);
select is(
    outcome_of('update procrastinate_jobs set id = id + 1000000'), 'PQ006',
    'nor do the ids of all of them'
);
select is(
    outcome_of(format($$
        insert into procrastinate_jobs (id, queue_name, task_name) values (%s, 'q', 't')
        on conflict (id) do update set id = excluded.id + 1
    $$, :job)),
    'PQ006', 'by whatever statement'
);
select isnt(
    error_of(format('update procrastinate_jobs set id = 0 where id = %s', :job), 'hint'), '',
    'the hint says what to do instead'
);
select is_sound();
select is(
    error_of($$select _procrastinate_refuse_ids('{1,2,3,4}', '{1,3,8,9}')$$),
    'The id of job 2 cannot be changed to 8', 'told are the first that went and the first that came'
);

select * from finish();
rollback;
