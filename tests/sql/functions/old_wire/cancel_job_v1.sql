\ir ../../setup.psql
select plan(14);

-- abort, delete, from: answer, status, flag, history. As 3.10 was seen to do.
create function fixtures.cancel(p_abort boolean, p_delete boolean, p_from text) returns text
language plpgsql as $$
declare
    v_job bigint := (select a.job from a_job(p_from) as a);
    v_answer bigint;
begin
    v_answer := procrastinate_cancel_job_v1(v_job, p_abort, p_delete);
    return coalesce(replace(v_answer::text, v_job::text, 'J'), 'null') || ': ' || coalesce((
        select concat_ws(' ', j.status, j.abort_requested, events_of(j.id))
        from procrastinate_jobs as j where j.id = v_job
    ), 'gone');
end $$;

select is(cancel(c.abort, c.gone, c.from_status), c.expected, c.why)
from (
    values
        (false, false, 'todo', 'J: cancelled f {deferred,cancelled}', 'a waiting job is cancelled'),
        (false, true, 'todo', 'J: gone', 'or deleted'),
        (true, true, 'todo', 'J: gone', 'whether abort is asked for or not'),
        (true, false, 'todo', 'J: cancelled t {deferred,abort_requested,cancelled}',
            'with abort the request stays on record'),
        (false, false, 'doing', 'null: doing f {deferred,started}', 'a running job is left alone'),
        (false, true, 'doing', 'null: doing f {deferred,started}', 'and not deleted'),
        (true, false, 'doing', 'J: doing t {deferred,started,abort_requested}',
            'unless abort is asked for'),
        (true, true, 'doing', 'J: doing t {deferred,started,abort_requested}', 'and only asked'),
        (false, false, 'succeeded', 'null: succeeded f {deferred,started,succeeded}',
            'what has ended has ended'),
        (true, true, 'failed', 'null: failed f {deferred,started,failed}', 'in whatever way'),
        (true, false, 'cancelled', 'null: cancelled f {deferred,cancelled}', 'cancelled, too'),
        (null, null, 'todo', 'J: cancelled f {deferred,cancelled}', 'nulls are false')
) as c (abort, gone, from_status, expected, why);
select is(procrastinate_cancel_job_v1(-1, true, true), null, 'an unknown job is null');
select is_sound();

select * from finish();
rollback;
