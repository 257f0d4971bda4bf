\ir ../../setup.psql
select plan(8);

-- released: a claim at the place of a job that stands in line no more
select job as held, claim from a_job('doing', p_lock => 'l') \gset
select job as head from a_job(p_lock => 'l') \gset
select job as next from a_job(p_lock => 'l') \gset
update procrastinate_doing set head_xmin = '2'::xid8;
update procrastinate_todo set since = '1'::xid8;
select d::text as claim from procrastinate_doing as d \gset
delete from procrastinate_doing;
create function fixtures.head_of(p_claim procrastinate_doing)
returns text language sql volatile as $$
    select concat_ws(' ', case when h.whole then 'whole' end, h.job_id, h.state)
    from _procrastinate_heads_of(array[p_claim]) as h
$$;
select is(head_of(:'claim'), format('%s r', :head), 'the first from there on');
update procrastinate_todo set priority = -1 where job_id = :head;
select is(head_of(:'claim'), format('%s r', :next), 'by priority, then id');
delete from procrastinate_jobs where id = :next;
select is(head_of(:'claim'), format('%s r', :head), 'however low');
select job as high from a_job(p_lock => 'l', p_priority => 1) \gset
select is(head_of(:'claim'), 'whole', 'one has joined before it: the line is to be read');
delete from procrastinate_jobs where id = :high;
select is(
    head_of(jsonb_populate_record(:'claim'::procrastinate_doing, '{"head_xmin": null}')),
    'whole', 'as where nothing is known of it'
);
select is(
    head_of(jsonb_populate_record(
        :'claim'::procrastinate_doing, '{"head_xmin": 9000000000000}'
    )),
    'whole', 'or it is of another server'
);
insert into procrastinate_jobs (queue_name, task_name, lock)
select 'q', 't', 'l' from generate_series(1, 200);
select is(head_of(:'claim'), 'whole', 'or many have joined');
delete from procrastinate_jobs where lock is not null;
select is(head_of(:'claim'), '', 'none: nobody waits');

select * from finish();
rollback;
