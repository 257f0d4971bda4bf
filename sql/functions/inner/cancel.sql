-- todo -> cancelled or gone, doing asked to abort: the common part of the front door and
-- the old wire. Returns the job, or null where it does not apply.
create function _procrastinate_cancel(p_job_id bigint, p_abort boolean, p_delete boolean)
returns bigint
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_id bigint;
begin
    if p_delete then
        delete from procrastinate_jobs as j
        where j.id = p_job_id and j.status = 'todo'
        returning j.id into v_id;
    end if;
    if v_id is null and p_abort then
        update procrastinate_jobs as j
        set
            abort_requested = true,
            status = case
                when j.status = 'todo' then 'cancelled'::procrastinate_job_status
                else j.status
            end
        where j.id = p_job_id and j.status in ('todo', 'doing')
        returning j.id into v_id;
    elsif v_id is null then
        update procrastinate_jobs as j
        set status = 'cancelled'
        where j.id = p_job_id and j.status = 'todo'
        returning j.id into v_id;
    end if;
    return v_id;
end;
$$;

comment on function _procrastinate_cancel(bigint, boolean, boolean) is
'todo -> cancelled or gone, doing: abort asked; the job, or null where it does not apply.';
