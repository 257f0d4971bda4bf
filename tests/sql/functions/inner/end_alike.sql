\ir ../../setup.psql
select plan(9);

-- refusals, and the shapes of reports: tests/sql/functions/wire/finish_jobs_v1.sql
select a_worker() as worker \gset
select job as a, claim as ca from a_job('doing', p_worker => :worker) \gset
select job as b, claim as cb from a_job('doing', p_worker => :worker, p_lock => 'b') \gset
select job as next from a_job(p_lock => 'b') \gset
update procrastinate_todo set state = 'b' where job_id = :next;
set local procrastinate.derived = '0';  -- as its callers have said
select o_ended as ended, o_released as released
from _procrastinate_end_alike(
    :worker, array[:a, :b], array[:ca, :cb], 'succeeded', procrastinate_now()
) \gset
set local procrastinate.derived = '';
select set_eq(
    format('select unnest(%L::bigint[])', :'ended'),
    format('values (%s::bigint), (%s)', :a, :b), 'it answers with those that it has ended'
);
select is(
    (select array_agg(r.job_id) from unnest(:'released'::procrastinate_doing[]) as r),
    array[:b]::bigint[], 'and with the claims that had a lock'
);
select is(derived(:next), 'todo:blocked', 'whose next heads the caller starts or unblocks');
select _procrastinate_promote(:'released', '{}') \g /dev/null
select is(events_of(:b), '{deferred,started,succeeded}', 'there is one event for each');

-- a trigger of a user's that has another end in mind
create function fixtures.have_it_back() returns trigger language plpgsql as $$
begin
    new.status := 'todo';
    return new;
end;
$$;
create trigger a_users_trigger before update of status on procrastinate_jobs
for each row when (new.status = 'failed') execute function fixtures.have_it_back();
select job as c, claim as cc from a_job('doing', p_worker => :worker, p_lock => 'c') \gset
set local procrastinate.derived = '0';
select o_ended as ended, o_released = '{}' as none_released
from _procrastinate_end_alike(:worker, array[:c], array[:cc], 'failed', procrastinate_now()) \gset
set local procrastinate.derived = '';
select is(:'ended'::bigint[], array[:c]::bigint[], 'a trigger of a user''s may have the job go on');
select is(derived(:c), 'todo:ready', 'what is derived follows from the job as it is');
select is(events_of(:c), '{deferred,started,deferred_for_retry}', 'as does its history');
select ok(:'none_released', 'and nothing is left to the caller');
select is_sound();

select * from finish();
rollback;
