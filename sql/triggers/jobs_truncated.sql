-- After a TRUNCATE. Rows that the same statement has truncated are gone already, and
-- truncating their table a second time would be refused: hence the look before.
create function _procrastinate_jobs_truncated()
returns trigger
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    if exists (select from procrastinate_todo) then
        truncate procrastinate_todo;
    end if;
    if exists (select from procrastinate_doing) then
        truncate procrastinate_doing;
    end if;
    if exists (select from procrastinate_counts) then
        truncate procrastinate_counts;
    end if;
    if exists (select from procrastinate_results) then
        truncate procrastinate_results;
    end if;
    if exists (select from procrastinate_keys) then
        truncate procrastinate_keys;
    end if;
    if exists (select from procrastinate_events) then
        truncate procrastinate_events;
    end if;
    update procrastinate_periodic_defers as p
    set job_id = null
    where p.job_id is not null;
    return null;
end;
$$;

comment on function _procrastinate_jobs_truncated() is
'Trigger after TRUNCATE on procrastinate_jobs: derived rows, history and results go too.';

create trigger procrastinate_jobs_truncated_v1
after truncate on procrastinate_jobs
for each statement execute function _procrastinate_jobs_truncated();
