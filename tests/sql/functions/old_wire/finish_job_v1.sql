\ir ../../setup.psql
select plan(20);

-- from, end, delete: outcome, status, attempts, history. As 3.10 was seen to do.
create function fixtures.finish(p_from text, p_end text, p_delete boolean) returns text
language plpgsql as $$
declare
    v_job bigint := (select a.job from a_job(p_from) as a);
    v_outcome text;
begin
    v_outcome := coalesce(error_of(format(
        'select procrastinate_finish_job_v1(%s, %L, %L)', v_job, p_end, p_delete
    )), 'ok');
    return replace(v_outcome, v_job::text, 'J') || ': ' || coalesce((
        select concat_ws(' ', j.status, j.attempts, events_of(j.id))
        from procrastinate_jobs as j where j.id = v_job
    ), 'gone');
end $$;

select is(finish(f.from_status, f.end_status, f.gone), f.expected, f.why)
from (
    values
        ('doing', 'succeeded', false, 'ok: succeeded 1 {deferred,started,succeeded}', 'a run ends'),
        ('doing', 'failed', false, 'ok: failed 1 {deferred,started,failed}', 'it may fail'),
        ('doing', 'aborted', false, 'ok: aborted 1 {deferred,started,aborted}', 'or abort'),
        ('doing', 'succeeded', null, 'ok: succeeded 1 {deferred,started,succeeded}',
            'null does not delete'),
        ('doing', 'failed', true, 'ok: gone', 'true does'),
        ('asked_to_abort', 'aborted', false,
            'ok: aborted 1 {deferred,started,abort_requested,aborted}', 'a request is done with'),
        ('todo', 'succeeded', false, 'ok: succeeded 0 {deferred,cancelled}',
            'a job that ends before it ran has no attempt'),
        ('todo', 'failed', false, 'ok: failed 0 {deferred,cancelled}', 'however it ends'),
        ('todo', 'aborted', false, 'ok: aborted 0 {deferred}', 'aborted leaves no event'),
        ('todo', 'failed', true, 'ok: gone', 'a waiting job may be deleted'),
        ('succeeded', 'failed', false,
            'Job was not found or not in "doing" or "todo" status (job id: J): '
            'succeeded 1 {deferred,started,succeeded}', 'one that has ended does not end again'),
        ('failed', 'failed', true,
            'Job was not found or not in "doing" or "todo" status (job id: J): '
            'failed 1 {deferred,started,failed}', 'and is not deleted'),
        ('cancelled', 'succeeded', false,
            'Job was not found or not in "doing" or "todo" status (job id: J): '
            'cancelled 0 {deferred,cancelled}', 'nor does a cancelled one end'),
        ('doing', 'cancelled', false,
            'End status should be either "succeeded", "failed" or "aborted" (job id: J): '
            'doing 0 {deferred,started}', 'cancelled is no end'),
        ('doing', 'todo', true,
            'End status should be either "succeeded", "failed" or "aborted" (job id: J): '
            'doing 0 {deferred,started}', 'nor is todo')
) as f (from_status, end_status, gone, expected, why);
select is(
    outcome_of($$select procrastinate_finish_job_v1(-1, 'failed', false)$$), 'P0001',
    'an unknown job is P0001'
);
select is(
    outcome_of($$select procrastinate_finish_job_v1(-1, 'todo', false)$$), 'P0001',
    'as is a status that is no end'
);
select job from a_job('doing', p_lock => 'l', p_queue_name => 'l') \gset
select job as next from a_job(p_lock => 'l', p_queue_name => 'l') \gset
select is(fetched('{l}'), '{}', 'a lock is held');
select procrastinate_finish_job_v1(:job, 'succeeded', true) \g /dev/null
select is(fetched('{l}'), array[:next]::bigint[], 'and released');
select is_sound();

select * from finish();
rollback;
