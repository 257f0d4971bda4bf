-- The statuses of a job, with the labels of 3.x in their order.
create type procrastinate_job_status as enum (
    'todo',
    'doing',
    'succeeded',
    'failed',
    'cancelled',
    'aborting',  -- of 2.x: nothing writes it, old rows may hold it
    'aborted'
);

comment on type procrastinate_job_status is
'Status of a job. aborting is a legacy label that nothing writes any more.';
