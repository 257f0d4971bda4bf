\ir ../../setup.psql
select plan(7);

-- what an exchange has just released: oldest transaction not seen, last claim, heads
select a_job('doing') \g /dev/null
select job as head from a_job(p_lock => 'l', p_priority => 1) \gset
select job as later from a_job(p_lock => 'm', p_scheduled_at => '2999-01-01Z') \gset
update procrastinate_todo set state = 'b';
select pg_current_xact_id()::text as now, last_value as claim from procrastinate_claims_seq \gset
create function fixtures.handed(p_handed bigint[]) returns bigint[] language sql volatile as $$
    select coalesce(array_agg(h.job_id), '{}')
    from _procrastinate_handed_heads(p_handed, procrastinate_now()) as h
$$;
select is(
    handed(array[:now, :claim, :head, :later]), array[:head]::bigint[],
    'a head that is due may be claimed'
);
select is(handed(array[:now, :claim]), '{}', 'none, none');
select is(handed(null), '{}', 'null is none');
select a_job('doing', p_lock => 'other') \g /dev/null
select a_job(p_lock => 'another', p_priority => 9) \g /dev/null
select is(
    handed(array[:now, :claim, :head]), array[:head]::bigint[],
    'what was claimed or deferred with other locks is in nobody''s way'
);
select a_job(p_lock => 'l', p_priority => 1) \g /dev/null
select is(
    handed(array[:now, :claim, :head]), array[:head]::bigint[], 'who came behind is behind'
);
select job as higher from a_job(p_lock => 'l', p_priority => 2) \gset
select is(handed(array[:now, :claim, :head]), '{}', 'who came before is not');
update procrastinate_jobs set status = 'doing' where id = :higher;
select is(handed(array[:now, :claim, :head]), '{}', 'nor may it when its lock was taken since');

select * from finish();
rollback;
