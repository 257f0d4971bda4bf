\ir ../../setup.psql
select plan(29);

create function fixtures.an_old_job(p_status text, p_age interval, p_queue text default 'purge')
returns bigint language plpgsql as $$
declare v_job bigint;
begin
    v_job := (select a.job from a_job(p_status, p_queue_name => p_queue) as a);
    update procrastinate_events set at = procrastinate_now() - p_age where job_id = v_job;
    return v_job;
end $$;
create function fixtures.left_in(p_queue text) returns bigint[] language sql as
$$select coalesce(array_agg(id order by id), '{}') from procrastinate_jobs where queue_name = p_queue$$;

select an_old_job('succeeded', '2 days') as old, an_old_job('succeeded', '1 hour') as young \gset
select an_old_job('failed', '2 days') as failed, an_old_job('todo', '2 days') as todo \gset
select an_old_job('doing', '2 days') as doing, an_old_job('cancelled', '2 days') as cancelled \gset
select an_old_job('succeeded', '2 days', 'other') as other \gset
insert into procrastinate_results (job_id, result) values (:old, '1');

select is(
    procrastinate_purge_jobs('1 day', 'purge'), 1::bigint,
    'a purge deletes what has succeeded and is older'
);
select is(
    left_in('purge'), array[:young, :failed, :todo, :doing, :cancelled]::bigint[], 'nothing else'
);
select is(events_of(:old), '{}', 'the history goes');
select is_empty('select from procrastinate_results', 'and the result');
select is(left_in('other'), array[:other]::bigint[], 'another queue keeps its own');
select is(procrastinate_purge_jobs('1 day'), 1::bigint, 'unless no queue is named');
select is(procrastinate_purge_jobs('1 day'), 0::bigint, 'once');
select is(
    procrastinate_purge_jobs('1 day', statuses => '{failed,cancelled}'), 2::bigint,
    'other statuses may be asked for'
);
select is(left_in('purge'), array[:young, :todo, :doing]::bigint[], 'and go');
select travel('1 day') \g /dev/null
select is(procrastinate_purge_jobs('1 day'), 1::bigint, 'age is told by the clock of the queue');

select an_old_job('succeeded', interval '1 min' * n, 'bound') from generate_series(10, 1, -1) as n
\g /dev/null
select travel('1 hour') \g /dev/null
select is(
    procrastinate_purge_jobs('1 min', 'bound', max_jobs => 3), 3::bigint,
    'a call deletes so many and no more'
);
select is(cardinality(left_in('bound')), 7, 'the rest is left for the next');
select is(procrastinate_purge_jobs('1 min', 'bound'), 7::bigint, 'which takes it');

-- 3.x: the newest event of any kind counts
select job from a_job('succeeded', p_queue_name => 'future') \gset
insert into procrastinate_events (job_id, type, at) values (:job, 'scheduled', '2999-01-01Z');
select travel('1 year') \g /dev/null
select is(
    procrastinate_purge_jobs('1 day', 'future'), 0::bigint,
    'a schedule in the future keeps a job, as in 3.x'
);
-- an import has no history
insert into procrastinate_jobs (queue_name, task_name, status)
values ('import', 'a_task', 'succeeded');
select is(
    procrastinate_purge_jobs('1 day', 'import'), 1::bigint, 'a job without history is old enough'
);

select an_old_job('succeeded', '1 day', 'edge') \g /dev/null
select is(
    procrastinate_purge_jobs('1 day', 'edge'), 0::bigint, 'just as old is not older'
);

-- Where the walk ends: at young jobs, but not at one whose id is out of turn
delete from procrastinate_jobs where status not in ('todo', 'doing');
insert into procrastinate_jobs (queue_name, task_name) select 'walk', 't' from generate_series(1, 2000);
update procrastinate_jobs set status = 'cancelled' where queue_name = 'walk';
select an_old_job('cancelled', '1 day', 'walk') as old \gset
select is(
    procrastinate_purge_jobs('1 hour', 'walk', '{cancelled}'), 0::bigint,
    'an old job behind a thousand young ones is not looked for'
);
update procrastinate_events as e set at = e.at - interval '2 hours'
where e.job_id in (
    select j.id from procrastinate_jobs as j where j.queue_name = 'walk' order by j.id limit 999
);
update procrastinate_events as e set at = e.at - interval '2 hours'
where e.job_id in (
    select j.id from procrastinate_jobs as j where j.queue_name = 'walk' order by j.id offset 1001
);
select is(
    procrastinate_purge_jobs('1 hour', 'walk', '{cancelled}'), 1999::bigint,
    'one or two young jobs among old ones end nothing'
);

select is(
    outcome_of(format('select procrastinate_purge_jobs(%s)', r.arguments)), 'PQ003', r.why
)
from (
    values
        ('null', 'a purge needs an age'),
        ('''-1 day''', 'that is not negative: all would be older'),
        ('''1 day'', statuses => null', 'statuses'),
        ('''1 day'', statuses => ''{}''', 'one at least'),
        ('''1 day'', statuses => ''{succeeded,todo}''', 'and not todo'),
        ('''1 day'', statuses => ''{doing}''', 'nor doing'),
        ('''1 day'', statuses => ''{succeeded,null}''', 'nor null'),
        ('''1 day'', max_jobs => 0', 'a number of jobs'),
        ('''1 day'', max_jobs => null', 'that is not null')
) as r (arguments, why);
select is(
    outcome_of($$select procrastinate_purge_jobs('1 day', statuses => '{done}')$$), '22P02',
    'an unknown status is none'
);
select is_sound('a purge leaves the derived tables true');

select * from finish();
rollback;
