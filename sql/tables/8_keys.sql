-- Keys of jobs that wait or run, where they were given one. Nothing writes it yet.
create table procrastinate_keys (
    key text primary key,
    job_id bigint not null unique
);

comment on table procrastinate_keys is
'Unique keys of jobs in todo and doing. Unused so far.';
