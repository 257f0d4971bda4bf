\ir ../../setup.psql
select plan(16);

-- what arrives is read in tests/python/sqllint/test_notify.py: it does so after a commit
delete from procrastinate_workers;
delete from procrastinate_priorities;
select is(_procrastinate_tell('mail', 3, 1), true, 'without any worker all is announced');
select results_eq(
    'select queue_name::text, priority from procrastinate_priorities',
    $$values ('mail', 3)$$, 'and a new priority is noted'
);
select is(_procrastinate_tell('mail', 3, 1), true, 'a second time as well');
select is((select count(*)::int from procrastinate_priorities), 1, 'and the priority once');

select procrastinate_register_worker_v2('a', '{mail,sms}') as a \gset
select is(_procrastinate_tell('mail', 3, 1), true, 'a worker that has said nothing is told');
update procrastinate_workers set quiet = true where id = :a;
select is(_procrastinate_tell('mail', 3, 1), false, 'one that is quiet is not');
select is(_procrastinate_tell('sms', 3, 1), false, 'of none of its queues');
select is(_procrastinate_tell('post', 3, 1), true, 'a queue that nobody serves is announced');
select is(_procrastinate_tell('mail', 4, 1), false, 'silence');
select is(
    (select count(*)::int from procrastinate_priorities where priority = 4), 1,
    'keeps no priority from being noted'
);

select procrastinate_register_worker_v2('b', '{post}') as b \gset
select is(_procrastinate_tell('mail', 3, 1), false, 'a worker of other queues is not meant');
select procrastinate_register_worker_v1() as old \gset
select is(_procrastinate_tell('mail', 3, 1), true, 'a worker of 3.x may serve any queue');
update procrastinate_workers set quiet = true where id = :old;
select is(_procrastinate_tell('mail', 3, 1), false, 'a quiet one of all queues is quiet');
select procrastinate_register_worker_v2('c', '{sms,mail}') as c \gset
select is(_procrastinate_tell('mail', 3, 1), true, 'one that is to be told is enough');
update procrastinate_workers set quiet = true where id = :c;

set local procrastinate.notify = 'always';
select is(_procrastinate_tell('mail', 3, 1), true, 'who only listens can have all announced');
set local procrastinate.notify = '';
select is(_procrastinate_tell('mail', 3, 1), false, 'and take it back');

select * from finish();
rollback;
