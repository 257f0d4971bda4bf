-- What can happen to a job, with the labels of 3.x in their order.
create type procrastinate_job_event_type as enum (
    'deferred',
    'started',
    'deferred_for_retry',
    'failed',
    'succeeded',
    'cancelled',
    'abort_requested',
    'aborted',
    'scheduled',
    'retried'
);

comment on type procrastinate_job_event_type is
'Kind of an event in the history of a job.';
