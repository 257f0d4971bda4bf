\ir ../../setup.psql
select plan(5);

select is(_procrastinate_group_lock('q', 'g'), 'group ["q", "g"]', 'a group has a lock');
select isnt(
    _procrastinate_group_lock('a", "b', 'c'), _procrastinate_group_lock('a', 'b", "c'),
    'no two groups share one, whatever their names'
);
select isnt(
    _procrastinate_group_lock('a', 'g'), _procrastinate_group_lock('b', 'g'), 'nor do two queues'
);
select is(_procrastinate_group_lock('q', null), null, 'no group, no lock');
select is(_procrastinate_group_lock(null, 'g'), null, 'nor without a queue');

select * from finish();
rollback;
