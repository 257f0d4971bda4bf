-- How many finished jobs each queue has, as deltas that each statement appends and the
-- sweep folds: nobody waits for anybody's counter.
create table procrastinate_counts (
    queue_name varchar(128) not null,
    status procrastinate_job_status not null,
    jobs bigint not null
);

-- no index: a row is appended by each statement and found by none
alter table procrastinate_counts replica identity full;

comment on table procrastinate_counts is
'Changes of the number of finished jobs, by queue and status; their sum is the number.';
