\ir ../../setup.psql
select plan(9);

-- refusals, and the shapes of reports: tests/sql/functions/wire/finish_jobs_v1.sql
select a_worker() as worker \gset
select job as a, claim as ca from a_job('doing', p_worker => :worker) \gset
select job as b, claim as cb from a_job('doing', p_worker => :worker, p_lock => 'b') \gset
select job as next from a_job(p_lock => 'b') \gset
update procrastinate_todo set state = 'b' where job_id = :next;
set local procrastinate.derived = '0';  -- as its callers have said
select o_ended as ended, o_heads as heads
from _procrastinate_end_alike(:worker, array[:a, :b], array[:ca, :cb], 'succeeded') \gset
set local procrastinate.derived = '';
select set_eq(
    format('select unnest(%L::bigint[])', :'ended'),
    format('values (%s::bigint), (%s)', :a, :b), 'it answers with those that it has ended'
);
select is((:'heads'::bigint[])[3:], array[:next]::bigint[], 'and with the next heads of their locks');
select is(derived(:next), 'todo:blocked', 'which the caller starts or unblocks');
select _procrastinate_unblock(:'heads') \g /dev/null
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
select o_ended as ended, o_heads is null as no_heads
from _procrastinate_end_alike(:worker, array[:c], array[:cc], 'failed') \gset
set local procrastinate.derived = '';
select is(:'ended'::bigint[], array[:c]::bigint[], 'a trigger of a user''s may have the job go on');
select is(derived(:c), 'todo:ready', 'what is derived follows from the job as it is');
select is(events_of(:c), '{deferred,started,deferred_for_retry}', 'as does its history');
select ok(:'no_heads', 'and nothing is left to the caller');
select is_sound();

select * from finish();
rollback;
