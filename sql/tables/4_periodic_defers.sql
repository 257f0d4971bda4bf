-- The last tick of each periodic task: what makes it deferred once, however many workers.
create table procrastinate_periodic_defers (
    id bigserial primary key,
    task_name varchar(128) not null,
    defer_timestamp bigint,
    job_id bigint,
    periodic_id varchar(128) not null default '',
    earlier bigint[] not null default '{}',
    constraint procrastinate_periodic_defers_unique unique (
        task_name, periodic_id, defer_timestamp
    )
);

create index procrastinate_periodic_defers_job_id_fkey_v1
on procrastinate_periodic_defers (job_id);

comment on table procrastinate_periodic_defers is
'Last tick of each periodic task that was deferred, with its job.';
comment on column procrastinate_periodic_defers.defer_timestamp is
'The tick, in seconds since the epoch.';
comment on column procrastinate_periodic_defers.job_id is
'Job of that tick; null once the job is deleted.';
comment on column procrastinate_periodic_defers.earlier is
'The ticks before it that were deferred, the newest first: they are not deferred again.';
