\ir ../setup.psql
select plan(3);

insert into procrastinate_queues (queue_name) values ('q');
select a_job() \g /dev/null
select isnt(fetched('{q}'), '{}', 'a queue that has a row is not paused for that');
select is(
    outcome_of($$insert into procrastinate_queues (queue_name) values ('q')$$), '23505',
    'a queue has one row'
);
select is(
    outcome_of(format('insert into procrastinate_queues (queue_name) values (%L)', repeat('q', 129))),
    '22001', 'and a name that jobs can have'
);

select * from finish();
rollback;
