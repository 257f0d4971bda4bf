\ir ../../setup.psql
select plan(3);

insert into procrastinate_jobs (id, queue_name, task_name, status) values
    (700, 'q', 't', 'failed'), (900, 'q', 't', 'failed'), (650, 'r', 't', 'failed');
update procrastinate_jobs set status = 'todo';
select is(
    _procrastinate_note_arrivals('0', '{q,q,r}', '{0,1,0}', '{800,800,600}'),
    '{700,800,600}', 'a row that became ready again lowers the mark of its queue and priority'
);
select is(
    _procrastinate_note_arrivals('9223372036854775807', '{q,q,r}', '{0,1,0}', '{800,800,600}'),
    '{800,800,600}', 'if it did so since'
);
insert into procrastinate_jobs (queue_name, task_name, status)
select 'q', 't', 'failed' from generate_series(1, 300);
update procrastinate_jobs set status = 'todo' where status = 'failed';
select is(
    _procrastinate_note_arrivals('0', '{q,q,r}', '{0,1,0}', '{800,800,600}'),
    '{-9223372036854775808,-9223372036854775808,-9223372036854775808}', 'when very many did, all is read from the start'
);

select * from finish();
rollback;
