\ir ../../setup.psql
select plan(11);

select is(_procrastinate_next_due_in('{q}', '{q}'), null, 'nothing is delayed');
select a_job(p_scheduled_at => procrastinate_now() - interval '1 h', p_queue_name => 'b')
\g /dev/null
update procrastinate_todo set lock = 'l', state = 'b';
select is(
    _procrastinate_next_due_in('{b}', '{b}'), null,
    'nor is what was due and waits for its lock: nobody need ask for it at once'
);
delete from procrastinate_jobs;
select a_job(p_scheduled_at => procrastinate_now() + interval '90 s') \g /dev/null
select a_job(p_scheduled_at => procrastinate_now() + interval '30 s', p_queue_name => 'r')
\g /dev/null
select is(_procrastinate_next_due_in('{q}', '{q}'), 90::double precision, 'until the first falls due');
select is(_procrastinate_next_due_in('{q,r}', '{q,r}'), 30::double precision, 'of these queues');
select is(_procrastinate_next_due_in('{q,r}', '{q}'), 90::double precision, 'that are not paused');
insert into procrastinate_queues (queue_name, paused_at, paused_until)
values ('r', procrastinate_now(), procrastinate_now() + interval '10 s');
select is(
    _procrastinate_next_due_in('{q,r}', '{q}'), 10::double precision, 'or until a pause ends'
);
select is(_procrastinate_next_due_in(null, '{q}'), 10::double precision, 'of any queue for all');
select is(_procrastinate_next_due_in('{q}', '{q}'), 90::double precision, 'else of these');
select travel('10 s') \g /dev/null
select is(
    _procrastinate_next_due_in('{r}', '{}'), null, 'a pause that has ended is waited for no more'
);
select travel('1 day') \g /dev/null
select is(_procrastinate_next_due_in(null, '{}'), null, 'however long ago that was');
select is(_procrastinate_next_due_in('{q}', '{q}'), 0::double precision, 'never less than none');

select * from finish();
rollback;
