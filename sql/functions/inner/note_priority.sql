-- Remembers that a queue has used a priority, so that fetches look there. Nobody waits for
-- anybody: two who are the first to use one leave two rows. A queue that uses priorities as
-- if they were times is marked by a null instead: fetches then read it in one piece.
create function _procrastinate_note_priority(p_queue_name text, p_priority integer)
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_many constant integer := 100;
begin
    if exists (
        select
        from procrastinate_priorities as p
        where p.queue_name = p_queue_name and p.priority = p_priority
    ) then
        return true;
    end if;
    if (
        select count(*) from procrastinate_priorities as p where p.queue_name = p_queue_name
    ) < v_many then
        insert into procrastinate_priorities (queue_name, priority)
        values (p_queue_name, p_priority);
    elsif not exists (
        select
        from procrastinate_priorities as p
        where p.queue_name = p_queue_name and p.priority is null
    ) then
        insert into procrastinate_priorities (queue_name, priority)
        values (p_queue_name, null);
    end if;
    return true;
end;
$$;

comment on function _procrastinate_note_priority(text, integer) is
'Adds a priority to those that a queue has used, if it is new.';
