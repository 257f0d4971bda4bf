\ir ../../setup.psql
select plan(8);

select a_worker() as worker \gset
select job as a, claim as ca from a_job('doing', p_worker => :worker) \gset
select job as b, claim as cb from a_job('doing', p_worker => :worker, p_lock => 'b') \gset
select job as c, claim as cc from a_job('doing', p_worker => :worker, p_lock => 'c') \gset
select job as d, claim as cd from a_job('doing', p_worker => :worker, p_lock => 'd') \gset
select job as nc from a_job(p_lock => 'c') \gset
select job as nd from a_job(p_lock => 'd') \gset
set local procrastinate.derived = '0';  -- as its callers have said
select o_ended as ended, o_released as released
from _procrastinate_end_jobs(
    :worker, array[:d, :c, :b, :a], array[:cd, :cc, :cb, :ca + 1000],
    '{aborted,failed,succeeded,aborted}', '{null,false,true,null}',
    procrastinate_now()
) \gset
set local procrastinate.derived = '';
select set_eq(
    format('select unnest(%L::bigint[])', :'ended'),
    format('values (%s::bigint), (%s), (%s)', :b, :c, :d),
    'it answers with those that it has ended or deleted'
);
select is(
    array[status_of(:a), status_of(:b), status_of(:c), status_of(:d)],
    '{doing,null,failed,aborted}', 'and has'
);
select is(
    (
        select array_agg(r.claim_id order by r.claim_id)
        from unnest(:'released'::procrastinate_doing[]) as r
    ),
    array[:cc, :cd]::bigint[], 'with the claims that had a lock'
);
select is(array[derived(:nc), derived(:nd)], '{todo:ready,todo:ready}', 'left as they are');
select _procrastinate_promote(:'released', '{}') \g /dev/null
select is(
    (select e.o_ended from _procrastinate_end_jobs(
        :worker, '{}', '{}', '{}', '{}', procrastinate_now()
    ) as e),
    '{}', 'none is nothing, not null'
);
select is(events_of(:c), '{deferred,started,failed}', 'each leaves its event');
select is(
    (
        select sum(x.jobs)::text from procrastinate_counts as x where x.status = 'failed'
    ),
    '1', 'and counts'
);
select is_sound();

select * from finish();
rollback;
