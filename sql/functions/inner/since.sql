-- Since when a job is what it is: its newest event. One that says for when the job was
-- scheduled tells no past, and to be asked to abort is no change of status.
create function _procrastinate_since(p_job_id bigint)
returns timestamptz
language sql stable parallel safe
begin atomic
    select max(e.at)
    from procrastinate_events as e
    where e.job_id = p_job_id and e.type not in ('scheduled', 'abort_requested');
end;

comment on function _procrastinate_since(bigint) is
'When a job got its present status; null for a job without history.';
