-- A job's number is its address in every other table.
create function _procrastinate_jobs_refuse_id()
returns trigger
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    perform _procrastinate_raise(
        'PQ006',
        format('The id of job %s cannot be changed to %s', old.id, new.id),
        'Events, results and users'' own tables know the job by its id.',
        'Defer a new job instead.'
    );
    return null;
end;
$$;

comment on function _procrastinate_jobs_refuse_id() is
'Trigger before UPDATE of id on procrastinate_jobs. Raises PQ006 (id change).';

create trigger procrastinate_jobs_refuse_id_v1
before update of id on procrastinate_jobs
for each row
when (old.id is distinct from new.id)
execute function _procrastinate_jobs_refuse_id();
