-- Jobs in doing whose worker is gone, or has been silent for longer than a worker may be.
create view procrastinate_stalled as
select
    d.job_id,
    j.task_name,
    j.queue_name,
    d.lock,
    d.worker_id,
    w.name as worker_name,
    w.last_heartbeat,
    d.started_at,
    procrastinate_now() - coalesce(w.last_heartbeat, d.started_at) as silent_for
from procrastinate_doing as d
join procrastinate_jobs as j on j.id = d.job_id
left join procrastinate_workers as w on w.id = d.worker_id
where coalesce(w.last_heartbeat < procrastinate_now() - interval '30 seconds', true);

comment on view procrastinate_stalled is
'Jobs in doing whose worker is gone or has not beaten for 30 s: '
'recover_stalled_jobs takes them.';
