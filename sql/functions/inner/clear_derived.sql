-- Takes back what a caller may have said to the update trigger in the place of a statement
-- of ours: that what follows from it is derived already. What a statement of ours that is
-- under way at another depth of triggers has said stays.
create function _procrastinate_clear_derived()
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    if current_setting('procrastinate.derived', true) = pg_trigger_depth()::text then
        perform set_config('procrastinate.derived', '', true);
    end if;
    return true;
end;
$$;

comment on function _procrastinate_clear_derived() is
'Has the update trigger of procrastinate_jobs derive, whatever the caller has set.';
