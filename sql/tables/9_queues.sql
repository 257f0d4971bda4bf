-- Settings of the queues that were given any. A queue needs no row to exist.
create table procrastinate_queues (
    queue_name varchar(128) primary key,
    paused_at timestamptz,
    pause_reason text,
    paused_until timestamptz
);

comment on table procrastinate_queues is
'Settings of queues: a queue with paused_at is not fetched from until paused_until.';

-- The priorities that each queue has ever used, which a fetch walks from the highest down.
-- Not unique on purpose: two first users of a priority must not wait for each other.
-- A null priority says that the queue has used too many to list.
create table procrastinate_priorities (
    id bigint generated always as identity primary key,
    queue_name varchar(128) not null,
    priority integer
);

create index procrastinate_priorities_queue_v1
on procrastinate_priorities (queue_name, priority);

comment on table procrastinate_priorities is
'Priorities that each queue has used: where a fetch looks. Written by the insert trigger.';
