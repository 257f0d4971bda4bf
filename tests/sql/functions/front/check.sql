\ir ../../setup.psql
select plan(20);

select is_empty('select * from procrastinate_check()', 'nothing is wrong where nothing is');

select job as ready from a_job(p_lock => 'l', p_priority => 3) \gset
select job as next from a_job(p_lock => 'l') \gset
select job as runs from a_job('doing', p_lock => 'm') \gset
select job as free from a_job('doing') \gset
select job as ended from a_job('succeeded') \gset
select job as delayed from a_job(p_scheduled_at => '2999-01-01Z') \gset
select is_empty('select * from procrastinate_check()', 'nor where jobs are in every status');

-- What each kind of damage is told as. Each is undone by a savepoint.
create function fixtures.told(p_damage text) returns text language plpgsql as $$
declare v_told text;
begin
    begin
        set local session_replication_role = replica;  -- no trigger fires
        execute p_damage;
        set local session_replication_role = origin;
        select string_agg(distinct split_part(c.breach, ':', 1) || ' ' || coalesce(c.job_id, 0), ', ')
        into v_told
        from procrastinate_check() as c;
        raise exception 'undo' using errcode = 'ZZ000';
    exception when sqlstate 'ZZ000' then null;
    end;
    return coalesce(v_told, 'nothing');
end $$;

select matches(told(format(d.damage, d.job)), format('\m%s %s$', d.told, d.job), d.why)
from (
    values
        ('delete from procrastinate_todo where job_id = %s', :ready::bigint, 'todo',
            'a waiting job without its row'),
        ('delete from procrastinate_doing where job_id = %s', :free, 'doing',
            'a running job without its row'),
        ('update procrastinate_jobs set status = ''cancelled'' where id = %s', :delayed, 'todo',
            'a row of todo whose job has ended'),
        ('update procrastinate_jobs set status = ''failed'' where id = %s', :free, 'doing',
            'a row of doing whose job has ended'),
        ('update procrastinate_todo set priority = 9 where job_id = %s', :delayed, 'todo',
            'another priority'),
        ('update procrastinate_todo set lock = ''x'' where job_id = %s', :delayed, 'todo',
            'another lock'),
        ('update procrastinate_todo set queueing_lock = ''x'' where job_id = %s', :delayed, 'todo',
            'another queueing lock'),
        ('update procrastinate_todo set scheduled_at = ''2998-01-01Z'' where job_id = %s',
            :delayed, 'todo', 'another time'),
        ('update procrastinate_todo set state = ''b'' where job_id = %s', :ready, 'lock',
            'a head that nobody holds back and that is blocked'),
        ('update procrastinate_todo set state = ''b'' where job_id = %s', :delayed, 'todo',
            'a job that is blocked without a lock'),
        ('update procrastinate_doing set lock = ''x'' where job_id = %s', :runs, 'doing',
            'another lock of a running job'),
        ('update procrastinate_doing set worker_id = -1 where job_id = %s', :runs, 'doing',
            'another worker of a running job'),
        ('insert into procrastinate_results (job_id) values (%s)', -5, 'results',
            'a result of no job'),
        ('insert into procrastinate_events (job_id) values (%s)', -5, 'events',
            'a history of no job')
) as d (damage, job, told, why);
select matches(
    told(format($$
        update procrastinate_jobs set lock = 'm' where id = %s;
        update procrastinate_doing set lock = 'm' where job_id = %1$s
    $$, :free)),
    format('^lock %s$', least(:runs, :free)),
    'two jobs that hold one lock'
);
select matches(
    told('delete from procrastinate_priorities'), 'queue', 'a priority that no fetch looks at'
);
select is(told('select'), 'nothing', 'and no damage as none');

select is(
    (select provolatile::text from pg_proc where oid = 'procrastinate_check'::regproc), 's',
    'check() only reads'
);

select * from finish();
rollback;
