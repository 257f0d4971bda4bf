-- Whether the trigger of this UPDATE is to derive what follows from it: not where a
-- statement of ours derives it all itself, and has said so with the depth of triggers that
-- it runs at.
--
-- The condition of a trigger is read anew from its text for each statement: a call is the
-- shortest text there is. Whoever may update jobs must be able to call it.
create function _procrastinate_derives()
returns boolean
language plpgsql stable parallel safe
set search_path from current
as $$
begin
    return current_setting('procrastinate.derived', true)
        is distinct from pg_trigger_depth()::text;
end;
$$;

comment on function _procrastinate_derives() is
'Whether the update trigger of procrastinate_jobs has anything to derive.';
