-- The event that a change of status leaves; null for none. As 3.x has it: a job that ends
-- before it ran was cancelled, whatever its status says.
create function _procrastinate_event_of(
    p_from procrastinate_job_status, p_to procrastinate_job_status
)
returns procrastinate_job_event_type
language sql immutable parallel safe
return case p_from
    when 'todo'::procrastinate_job_status then case p_to
        when 'doing'::procrastinate_job_status
            then 'started'::procrastinate_job_event_type
        when 'succeeded'::procrastinate_job_status
            then 'cancelled'::procrastinate_job_event_type
        when 'failed'::procrastinate_job_status
            then 'cancelled'::procrastinate_job_event_type
        when 'cancelled'::procrastinate_job_status
            then 'cancelled'::procrastinate_job_event_type
    end
    when 'doing'::procrastinate_job_status then case p_to
        when 'todo'::procrastinate_job_status
            then 'deferred_for_retry'::procrastinate_job_event_type
        when 'succeeded'::procrastinate_job_status
            then 'succeeded'::procrastinate_job_event_type
        when 'failed'::procrastinate_job_status
            then 'failed'::procrastinate_job_event_type
        when 'aborted'::procrastinate_job_status
            then 'aborted'::procrastinate_job_event_type
    end
    when 'failed'::procrastinate_job_status then case p_to
        when 'todo'::procrastinate_job_status
            then 'retried'::procrastinate_job_event_type
    end
end;

comment on function _procrastinate_event_of(
    procrastinate_job_status, procrastinate_job_status
) is 'The event that a change from one status to another leaves, if any.';
