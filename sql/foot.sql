-- Back to the caller's search_path.
do $$
declare
    v_local boolean := coalesce(
        current_setting('procrastinate.one_transaction', true) = 'yes', false
    );
begin
    perform
        set_config('search_path', current_setting('procrastinate.caller_path'), v_local),
        set_config('procrastinate.caller_path', '', v_local),
        set_config('procrastinate.target_schema', '', v_local);
end;
$$;
