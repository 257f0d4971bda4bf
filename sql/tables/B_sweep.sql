-- Where the sweep has come to: one row, that whoever sweeps has locked. Others leave it be.
create table procrastinate_sweep (
    id integer primary key default 1 check (id = 1),
    last_job_id bigint not null default 0,
    last_lock text  -- null: start with the first
) with (fillfactor = 50);

comment on table procrastinate_sweep is
'Where the sweep has come to: last job looked at for a worker that is gone, and last lock.';
