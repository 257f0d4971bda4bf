-- A row for each worker that is alive, or was until its heartbeat stopped.
create table procrastinate_workers (
    id bigint generated always as identity primary key,
    last_heartbeat timestamptz not null default now(),
    name text,
    queues text[],
    description jsonb not null default '{}',
    started_at timestamptz not null default now(),
    quiet boolean not null default false
) with (fillfactor = 50);  -- each heartbeat is a HOT update: last_heartbeat is in no index

-- whoever writes a job looks here, for one that is not quiet first
create index procrastinate_workers_quiet_v1
on procrastinate_workers (quiet);

comment on table procrastinate_workers is
'One row for each registered worker; a heartbeat too old means that it is stalled.';
comment on column procrastinate_workers.last_heartbeat is
'When the worker last said that it lives, by the clock of the database.';
comment on column procrastinate_workers.name is 'Name given to the worker, if any.';
comment on column procrastinate_workers.queues is
'Queues that it serves, and is told of; null: all of them.';
comment on column procrastinate_workers.description is
'What the worker says of itself: version, host, process, concurrency.';
comment on column procrastinate_workers.started_at is 'When the worker registered.';
comment on column procrastinate_workers.quiet is
'Whether it looks for jobs by itself just now: only workers that do not are notified.';
