\ir ../../setup.psql
select plan(7);

-- what a user's trigger has made of jobs: here by hand, behind the back of ours
select job as a from a_job() \gset
select job as b from a_job(p_lock => 'b') \gset
select job as c from a_job() \gset
set local procrastinate.derived = '0';
update procrastinate_jobs set status = 'cancelled' where id = :a;
update procrastinate_jobs set lock = 'c' where id = :b;
set local procrastinate.derived = '';
select isnt_empty('select * from procrastinate_check()', 'nothing is derived yet');
select ok(
    _procrastinate_changed_otherwise(array[:a, :b, :c], 'todo'), 'two of them have changed'
);
select is(array[derived(:a), derived(:b), derived(:c)], '{null,todo:ready,todo:ready}', 'so');
select is(events_of(:a), '{deferred,cancelled}', 'with an event for a new status');
select is(events_of(:c), '{deferred}', 'and none for one that is as it was');
select ok(
    not _procrastinate_changed_otherwise(array[:b, :c], 'todo'), 'else there is nothing to do'
);
select is_sound();

select * from finish();
rollback;
