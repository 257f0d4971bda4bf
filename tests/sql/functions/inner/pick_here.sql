\ir ../../setup.psql
select plan(17);

-- That all ways lead to the same jobs is told by tests/python/sqllint/test_random_writers.py;
-- here where it goes, and what marks it leaves.
select a_worker() as worker \gset
insert into procrastinate_jobs (id, queue_name, task_name, lock) values
    (901, 'q', 't', null), (902, 'q', 't', null), (903, 'q', 't', 'l'), (904, 'q', 't', null);
select e.marks
from procrastinate_finish_and_fetch_v1(:worker, '{q}', 1, null, '{}', '{}', '{}', '{}') as e
where e.outcome = 'summary' \gset
-- the next scan from the start is due as late as the last one was dear: here in 1,000 s
select (:'marks'::bigint[])[:1]
    || (extract(epoch from clock_timestamp() + interval '1000 s') * 1e6)::bigint
    || (:'marks'::bigint[])[3:] as marks \gset
create function fixtures.picked(
    p_limit integer, p_marks bigint[], p_released procrastinate_doing[] default null
)
returns text language sql volatile as $$
    select format(
        '%s %s %s', (select array_agg(i order by i) from unnest(p.o_job_ids) as i), p.o_marks[10:],
        case
            when p.o_next_due_in between 500 and 1000 then 'look'
            else round(p.o_next_due_in::numeric)::text
        end
    )
    from _procrastinate_pick_here(
        (select max(w.id) from procrastinate_workers as w), 'q', p_limit, p_marks, p_released,
        procrastinate_now()
    ) as p
$$;
select (:'marks'::bigint[])[11] as start \gset
select is(picked(2, :'marks'), format('{902,903} {904,%s,0} ', :start), 'with locks');
select is(picked(1, :'marks'), format('{902} {903,%s} ', :start), 'and without');
-- fewer than asked for: read from the floor, which is the start
select is(
    picked(9, :'marks'), format('{902,903,904} {905,%s,0} look', :start), 'all that there are'
);
-- floor, last id, its bound
select (:'marks'::bigint[])[:3] || array[903, 903, 1, 0, 0]::bigint[] || (:'marks'::bigint[])[9:]
as marks \gset
select (:'marks'::bigint[])[:9] || array[999, :start] as above \gset
select setval('procrastinate_jobs_id_seq', 950) \g /dev/null
select is(
    picked(9, :'above'), format('{904} {999,%s} look', :start),
    'behind the mark they are read from the floor, and the mark is where it was'
);
select is(
    picked(1, :'above'), format('{904} {905,%s} ', :start),
    'but for a full batch, after which there may be more'
);
select setval('procrastinate_jobs_id_seq', 903) \g /dev/null
select is(
    picked(9, :'above'), format(' {999,%s} look', :start),
    'not where no id was given since the floor was raised'
);
select is(
    (select p.o_marks[4:5] from _procrastinate_pick_here(
        :worker, 'q', 9, :'above', null, procrastinate_now()
    ) as p), '{903,903}'::bigint[], 'then it is settled'
);
select setval('procrastinate_jobs_id_seq', 1000) \g /dev/null
select is(
    picked(9, (:'above'::bigint[])[:2] || 0::bigint || (:'above'::bigint[])[4:6] || array[9, 1]
        || (:'above'::bigint[])[9:]),
    '  ', 'one that an old transaction may have left is for the general way'
);
select a_job(p_scheduled_at => procrastinate_now() + interval '1 min') as delayed \gset
select is(
    picked(9, (:'marks'::bigint[])[:1] || 9000000000000000 || (:'marks'::bigint[])[3:]),
    format('{902,903,904} {905,%s,0} 60', :start), 'with the time of the next'
);
select travel('2 min') \g /dev/null
select is(picked(1, :'marks'), '  ', 'one that is due is for the general way');
delete from procrastinate_jobs where scheduled_at is not null;
update procrastinate_jobs set status = 'todo' where id = 901;
select is(picked(2, :'marks'), format('{901,902} {903,902} '), 'what is ready again has a mark');

-- a head that this exchange has released; it does not raise a mark
select job as held from a_job('doing', p_lock => 'm') \gset
select job as head from a_job(p_lock => 'm') \gset
update procrastinate_todo set state = 'b' where job_id = :head;
update procrastinate_doing set head_xmin = '2'::xid8 where lock = 'm';
update procrastinate_todo set since = '1'::xid8 where lock = 'm';
select array_agg(d)::text as released from procrastinate_doing as d where d.lock = 'm' \gset
update procrastinate_jobs set status = 'cancelled' where lock is null;
delete from procrastinate_jobs where id = :held;
update procrastinate_todo set state = 'b' where job_id = :head;
select is(
    picked(2, :'marks', :'released'),
    format('{903,%s} {904,%s,0} ', :head, :start), 'nor does it need its key again'
);
select is(
    (select p.o_heads[3:] from _procrastinate_pick_here(
        :worker, 'q', 1, :'marks', :'released', procrastinate_now()
    ) as p), array[:head]::bigint[], 'the caller is told of it'
);
select job as first from a_job(p_lock => 'm', p_priority => 0) \gset
update procrastinate_todo set priority = 5 where job_id = :first;
select is(picked(2, :'marks', :'released'), '  ', 'nor where its line is to be read');
delete from procrastinate_jobs where id = :first;
insert into procrastinate_queues (queue_name, paused_at) values ('q', procrastinate_now());
select is(picked(1, :'marks'), '  ', 'nor where the queue is paused');
delete from procrastinate_queues;
update procrastinate_todo set state = 'r' where job_id = :head;
delete from procrastinate_workers;
select is(picked(2, :'marks', :'released'), '  ', 'nor for a worker that is gone');
select is_sound();

select * from finish();
rollback;
