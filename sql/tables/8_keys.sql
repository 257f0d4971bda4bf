-- Keys of jobs that wait or run, where they were given one.
create table procrastinate_keys (
    key text primary key,
    job_id bigint not null unique
);

comment on table procrastinate_keys is
'Derived: unique keys of jobs in todo and doing.';
