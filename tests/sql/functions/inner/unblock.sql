\ir ../../setup.psql
select plan(4);

select job as head from a_job(p_lock => 'a') \gset
select job as later from a_job(p_lock => 'b', p_scheduled_at => '2999-01-01Z') \gset
update procrastinate_todo set state = 'b';
select _procrastinate_unblock(array[1, 1, :head, :later]) \g /dev/null
select is(
    array[derived(:head), derived(:later)], '{todo:ready,todo:delayed}',
    'a blocked head becomes ready, or delayed'
);
select results_eq(
    'select distinct head_xmin::text, free_after from procrastinate_todo',
    $$values ('1', 1::bigint)$$, 'and keeps where the line and its holders were seen to'
);
update procrastinate_todo set state = 'r' where job_id = :head;
select job as other from a_job(p_lock => 'c') \gset
update procrastinate_todo set state = 'b' where job_id = :other;
select _procrastinate_unblock(array[2, 3, :head]) \g /dev/null
select results_eq(
    format('select state::text, free_after from procrastinate_todo where job_id in (%s, %s)'
        ' order by job_id', :head, :other),
    $$values ('r', 1::bigint), ('b', null)$$,
    'one that is ready already stays as it is, as do others that are blocked'
);

select job as fresh from a_job(p_lock => 'd') \gset
select format('%s', since) as since from procrastinate_todo where job_id = :fresh \gset
select _procrastinate_unblock(array[2, 3, :fresh]) \g /dev/null
select results_eq(
    format('select state::text, since::text, head_xmin::text, free_after from procrastinate_todo'
        ' where job_id = %s', :fresh),
    format('values (''r'', %L, ''2'', 3::bigint)', :'since'),
    'of one that is ready and never was blocked it is said, too, and it stays where it is'
);

select * from finish();
rollback;
