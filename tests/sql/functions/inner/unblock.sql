\ir ../../setup.psql
select plan(1);

select job as head from a_job(p_lock => 'a') \gset
select job as later from a_job(p_lock => 'b', p_scheduled_at => '2999-01-01Z') \gset
update procrastinate_todo set state = 'b';
select _procrastinate_unblock(array[1, 1, :head, :later]) \g /dev/null
select is(
    array[derived(:head), derived(:later)], '{todo:ready,todo:delayed}',
    'a blocked head becomes ready, or delayed'
);

select * from finish();
rollback;
