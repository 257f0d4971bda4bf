-- Refuses a change of status that the state machine does not know.
create function _procrastinate_refuse_transition(
    p_job_id bigint, p_from procrastinate_job_status, p_to procrastinate_job_status
)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    perform _procrastinate_raise(
        'PQ001',
        format('Job %s is %s: it cannot become %s', p_job_id, p_from, p_to),
        'Allowed: todo to doing, cancelled, succeeded, failed or aborted; doing to '
        'succeeded, failed, aborted or todo; any ended status to todo.',
        'To run the job again use procrastinate_retry_job, or set its status to todo.'
    );
end;
$$;

comment on function _procrastinate_refuse_transition(
    bigint, procrastinate_job_status, procrastinate_job_status
) is 'Raises PQ001 (illegal transition).';
